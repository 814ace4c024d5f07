//! Messages as JSON, in the protocol's canonical form, and as bytes.

use bytes::Bytes;
use cavs_types::ErrorReason;
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use tonic::Status;

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Json,
    Proto,
}

impl Codec {
    pub(super) fn of_unary(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Proto => "application/proto",
        }
    }

    pub(super) fn of_streams(self) -> &'static str {
        match self {
            Self::Json => "application/connect+json",
            Self::Proto => "application/connect+proto",
        }
    }
}

/// The bytes of a message that somebody sent. Nothing at all is a message without fields.
pub(super) fn to_wire(codec: Codec, kind: &MessageDescriptor, sent: Bytes) -> Result<Bytes, Status> {
    if codec == Codec::Proto || sent.is_empty() {
        return Ok(sent);
    }
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let mut json = serde_json::Deserializer::from_slice(&sent);
    let read = DynamicMessage::deserialize_with_options(kind.clone(), &mut json, &options)
        .and_then(|message| json.end().map(|()| message));
    match read {
        Ok(message) => Ok(message.encode_to_vec().into()),
        Err(problem) => {
            let message = format!("the JSON is no {}: {problem}", kind.full_name());
            Err(cavs_proto::status(ErrorReason::MessageInvalid, message))
        }
    }
}

/// A message of ours as the caller wants it. Fields are written that have no value, too, unless their being absent
/// means something: a reader need not know what is left out.
pub(super) fn from_wire(codec: Codec, kind: &MessageDescriptor, bytes: Bytes) -> Result<Bytes, Status> {
    if codec == Codec::Proto {
        return Ok(bytes);
    }
    let internal = || cavs_proto::status(ErrorReason::Internal, "the answer can't be written as JSON");
    let message = DynamicMessage::decode(kind.clone(), bytes).map_err(|_| internal())?;
    let options = SerializeOptions::new().skip_default_fields(false);
    let mut json = Vec::new();
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
        .map_err(|_| internal())?;
    Ok(json.into())
}

#[cfg(test)]
mod tests {
    use cavs_proto::FILE_DESCRIPTOR_SET;
    use proptest::prelude::*;
    use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, ReflectMessage, Value};
    use serde_json::json;

    use super::*;

    fn pool() -> DescriptorPool {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
    }

    fn kind(name: &str) -> MessageDescriptor {
        pool().get_message_by_name(&format!("cavs.v1.{name}")).unwrap()
    }

    /// Any message of a kind, as JSON would have it: what can't be written so is left out.
    fn any_message(kind: MessageDescriptor, depth: u32) -> BoxedStrategy<DynamicMessage> {
        let fields: Vec<FieldDescriptor> = kind.fields().filter(|field| !field.is_map()).collect();
        let values: Vec<_> = fields
            .iter()
            .map(|field| {
                let value = any_value(field, depth);
                if field.is_list() {
                    prop::collection::vec(value, 0..3).prop_map(Value::List).boxed()
                } else {
                    value
                }
            })
            .map(prop::option::of)
            .collect();
        values
            .prop_map(move |values| {
                let mut message = DynamicMessage::new(kind.clone());
                for (field, value) in fields.iter().zip(values) {
                    if let Some(value) = value.filter(|value| value.is_valid_for_field(field)) {
                        message.set_field(field, value);
                    }
                }
                message
            })
            .boxed()
    }

    fn any_value(field: &FieldDescriptor, depth: u32) -> BoxedStrategy<Value> {
        match field.kind() {
            Kind::Double => prop::num::f64::NORMAL.prop_map(Value::F64).boxed(),
            Kind::Float => prop::num::f32::NORMAL.prop_map(Value::F32).boxed(),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => any::<i32>().prop_map(Value::I32).boxed(),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => any::<i64>().prop_map(Value::I64).boxed(),
            Kind::Uint32 | Kind::Fixed32 => any::<u32>().prop_map(Value::U32).boxed(),
            Kind::Uint64 | Kind::Fixed64 => any::<u64>().prop_map(Value::U64).boxed(),
            Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Kind::String => any::<String>().prop_map(Value::String).boxed(),
            Kind::Bytes => {
                prop::collection::vec(any::<u8>(), 0..9).prop_map(|b| Value::Bytes(b.into())).boxed()
            }
            // A number that has no name, too: it comes of a newer server.
            Kind::Enum(_) => (0..7_i32).prop_map(Value::EnumNumber).boxed(),
            Kind::Message(inner) if depth == 0 || inner.package_name() != "cavs.v1" => {
                Just(Value::Message(DynamicMessage::new(inner))).boxed()
            }
            Kind::Message(inner) => any_message(inner, depth - 1).prop_map(Value::Message).boxed(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn messages_come_back_from_json(
            message in prop::sample::select(vec!["Student", "ListSightingsResponse", "Device", "ReviewPendingRequest"])
                .prop_flat_map(|name| any_message(kind(name), 2)),
        ) {
            let kind = message.descriptor();
            let json = from_wire(Codec::Json, &kind, message.encode_to_vec().into()).unwrap();
            let back = DynamicMessage::decode(kind.clone(), to_wire(Codec::Json, &kind, json).unwrap()).unwrap();
            prop_assert!(back.encode_to_vec() == message.encode_to_vec(), "{}", kind.name());
        }

        #[test]
        fn no_json_breaks_the_reader(
            text in r#"(\{|\}|\[|\]|,|:|"(student|update_mask|updateMask|number|x|createTime|2026-01-01T00:00:00Z)"|[0-9]{1,4}|null|true|-1e9| ){0,16}"#,
        ) {
            for name in ["UpdateStudentRequest", "UpdateRetentionRequest", "ConfigureDeviceRequest"] {
                match to_wire(Codec::Json, &kind(name), Bytes::from(text.clone())) {
                    Ok(wire) => prop_assert!(DynamicMessage::decode(kind(name), wire).is_ok()),
                    Err(status) => {
                        prop_assert_eq!(cavs_proto::error_reason(&status), Some(ErrorReason::MessageInvalid));
                    }
                }
            }
        }

        #[test]
        fn no_bytes_break_the_writer(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = from_wire(Codec::Json, &kind("ListStudentsResponse"), bytes.into());
        }
    }

    #[test]
    fn wrong_json_is_told_what_is_wrong() {
        for (sent, said) in [
            (r#"{"numbre": "1"}"#, "numbre"),
            (r#"{"number": 1}"#, "expected a string"),
            (r#"{"photoConsent": "MAYBE"}"#, "MAYBE"),
            (r#"{"number": "1"} x"#, "trailing characters"),
            ("[]", "expected"),
            ("\u{0}", "line 1"),
        ] {
            let refused =
                to_wire(Codec::Json, &kind("CreateStudentRequest"), Bytes::from_static(sent.as_bytes()))
                    .unwrap_err();
            assert!(refused.message().contains(said), "{sent}: {}", refused.message());
        }
        let deep = "{\"student\":".repeat(500);
        assert!(to_wire(Codec::Json, &kind("UpdateStudentRequest"), deep.into()).is_err());
    }

    #[test]
    fn what_has_no_value_is_written() {
        let json = from_wire(Codec::Json, &kind("ListStudentsResponse"), Bytes::new()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let expected =
            json!({"students": [], "nextPageToken": "", "totalSize": "0", "totalSizeExact": false});
        assert_eq!(json, expected);
        assert!(to_wire(Codec::Json, &kind("ListStudentsRequest"), Bytes::new()).unwrap().is_empty());
    }
}
