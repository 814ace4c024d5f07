//! People say numbers and names; the server wants ids.

use cavs_proto::v1::{
    self, get_device_request, get_group_request, get_room_request, get_site_request, get_student_request,
    get_term_request,
};
use cavs_types::{ErrorReason, StudentId};

use crate::{client::Api, error::CliError};

/// The student of an id or a number.
pub(crate) async fn student(api: &Api, text: &str) -> Result<v1::Student, CliError> {
    use get_student_request::Key;
    let get = async |key| {
        let request = v1::GetStudentRequest { key: Some(key) };
        api.one(api.students().get_student(request)).await
    };
    if is_id(text) {
        match get(Key::Id(text.to_owned())).await {
            // A site may number its students as it likes, and be it by UUIDs.
            Err(error) if error.reason() == ErrorReason::StudentNotFound.as_str() => {}
            found => return found.map_err(|error| error.about(text)),
        }
    }
    get(Key::Number(text.to_owned())).await.map_err(|error| error.about(text))
}

/// The device of an id or a name.
pub(crate) async fn device(api: &Api, text: &str) -> Result<v1::Device, CliError> {
    use get_device_request::Key;
    let get = async |key| {
        let request = v1::GetDeviceRequest { key: Some(key) };
        api.one(api.devices().get_device(request)).await
    };
    if is_id(text) {
        match get(Key::Id(text.to_owned())).await {
            Err(error) if error.reason() == ErrorReason::DeviceNotFound.as_str() => {}
            found => return found.map_err(|error| error.about(text)),
        }
    }
    get(Key::Name(text.to_owned())).await.map_err(|error| error.about(text))
}

/// The site of an id or a name: none is named like an id.
pub(crate) async fn site(api: &Api, text: &str) -> Result<v1::Site, CliError> {
    use get_site_request::Key;
    let key = if is_id(text) { Key::Id(text.to_owned()) } else { Key::Name(text.to_owned()) };
    let request = v1::GetSiteRequest { key: Some(key) };
    api.one(api.sites().get_site(request)).await.map_err(|error| error.about(text))
}

/// The term of an id or a name.
pub(crate) async fn term(api: &Api, text: &str) -> Result<v1::Term, CliError> {
    use get_term_request::Key;
    let get = async |key| api.one(api.terms().get_term(v1::GetTermRequest { key: Some(key) })).await;
    if is_id(text) {
        match get(Key::Id(text.to_owned())).await {
            Err(error) if error.reason() == ErrorReason::TermNotFound.as_str() => {}
            found => return found.map_err(|error| error.about(text)),
        }
    }
    get(Key::Name(text.to_owned())).await.map_err(|error| error.about(text))
}

/// The group of an id or a name.
pub(crate) async fn group(api: &Api, text: &str) -> Result<v1::Group, CliError> {
    use get_group_request::Key;
    let get = async |key| api.one(api.groups().get_group(v1::GetGroupRequest { key: Some(key) })).await;
    if is_id(text) {
        match get(Key::Id(text.to_owned())).await {
            Err(error) if error.reason() == ErrorReason::GroupNotFound.as_str() => {}
            found => return found.map_err(|error| error.about(text)),
        }
    }
    get(Key::Name(text.to_owned())).await.map_err(|error| error.about(text))
}

/// The room of an id or a name.
pub(crate) async fn room(api: &Api, text: &str) -> Result<v1::Room, CliError> {
    use get_room_request::Key;
    let get = async |key| api.one(api.rooms().get_room(v1::GetRoomRequest { key: Some(key) })).await;
    if is_id(text) {
        match get(Key::Id(text.to_owned())).await {
            Err(error) if error.reason() == ErrorReason::RoomNotFound.as_str() => {}
            found => return found.map_err(|error| error.about(text)),
        }
    }
    get(Key::Name(text.to_owned())).await.map_err(|error| error.about(text))
}

/// The webhook of an id or an address: a site has few.
pub(crate) async fn webhook(api: &Api, text: &str) -> Result<v1::Webhook, CliError> {
    if is_id(text) {
        let request = v1::GetWebhookRequest { webhook_id: text.to_owned() };
        return api.one(api.webhooks().get_webhook(request)).await.map_err(|error| error.about(text));
    }
    let request = v1::ListWebhooksRequest { page_size: 1000, ..Default::default() };
    let webhooks = api.call(api.webhooks().list_webhooks(request)).await?.webhooks;
    let mut of_address = webhooks.into_iter().filter(|webhook| webhook.url == text);
    match (of_address.next(), of_address.next()) {
        (Some(webhook), None) => Ok(webhook),
        (Some(_), Some(_)) => {
            Err(CliError::usage(format!("{text}: two webhooks lead there; name one by its id")))
        }
        (None, _) => {
            let missing =
                cavs_proto::status(ErrorReason::WebhookNotFound, format!("no webhook leads to {text}"));
            Err(CliError::rpc(&missing).about(text))
        }
    }
}

/// The id of a term, where one was given; empty is none.
pub(crate) async fn term_id(api: &Api, text: Option<&str>) -> Result<String, CliError> {
    match text {
        Some("") | None => Ok(String::new()),
        Some(text) => Ok(term(api, text).await?.id),
    }
}

/// The id of a student, where one was given.
pub(crate) async fn student_id(api: &Api, text: Option<&str>) -> Result<String, CliError> {
    match text {
        Some(text) => Ok(student(api, text).await?.id),
        None => Ok(String::new()),
    }
}

/// The id of a device, where one was given.
pub(crate) async fn device_id(api: &Api, text: Option<&str>) -> Result<String, CliError> {
    match text {
        Some(text) => Ok(device(api, text).await?.id),
        None => Ok(String::new()),
    }
}

/// Ids of all kinds have one form.
pub(crate) fn is_id(text: &str) -> bool {
    text.parse::<StudentId>().is_ok()
}
