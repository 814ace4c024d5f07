//! Files that come in parts: options first and once, then the bytes.

use std::time::Duration;

use bytes::Bytes;
use cavs_proto::{status_of, v1};
use cavs_types::{ErrorReason, ProtocolError};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::people::ImportProblem;

/// Largest file, in bytes.
const LARGEST_FILE: usize = 64 << 20;
/// How long a caller may say nothing in the middle of a file.
const IDLE: Duration = Duration::from_secs(60);
/// Problems that are told of a file.
pub(super) const TOLD: usize = 1000;
/// Files that are imported at a time by one service, of all sites together: each may be large in memory.
pub(super) const IMPORTS: usize = 2;
/// When it is worth while to try again where there are so many.
pub(super) const RETRY: Duration = Duration::from_secs(10);

/// What a message of an upload holds.
pub(super) enum Part<O> {
    Options(O),
    Data(Bytes),
}

/// A message of an upload.
pub(super) trait Upload {
    /// How the file is to be read.
    type Options;

    fn part(self) -> Option<Part<Self::Options>>;
}

macro_rules! uploads {
    ($($request:ident in $module:ident with $options:ident;)*) => {$(
        impl Upload for v1::$request {
            type Options = v1::$options;

            fn part(self) -> Option<Part<v1::$options>> {
                Some(match self.message? {
                    v1::$module::Message::Options(options) => Part::Options(options),
                    v1::$module::Message::Data(data) => Part::Data(data),
                })
            }
        }
    )*};
}

uploads! {
    ImportStudentsRequest in import_students_request with ImportOptions;
    ImportClassSessionsRequest in import_class_sessions_request with SessionImportOptions;
    ImportRostersRequest in import_rosters_request with RosterImportOptions;
}

/// The options and the bytes of a file that comes in parts.
pub(super) async fn receive_file<U: Upload>(
    mut inbound: Streaming<U>,
) -> Result<(U::Options, Vec<u8>), Status> {
    let (mut options, mut data) = (None, Vec::new());
    loop {
        let silent = |_| cavs_proto::status(ErrorReason::IdleTimeout, "nothing of the file for 60 seconds");
        let Some(message) = timeout(IDLE, inbound.message()).await.map_err(silent)?? else { break };
        match (message.part(), &options) {
            (Some(Part::Options(given)), None) => options = Some(given),
            (Some(Part::Data(part)), Some(_)) if data.len() + part.len() <= LARGEST_FILE => {
                data.extend_from_slice(&part);
            }
            (Some(Part::Data(_)), Some(_)) => {
                let message = "the file is larger than 64 MiB: import it in parts";
                return Err(cavs_proto::status(ErrorReason::MessageTooLarge, message));
            }
            (Some(Part::Options(_)), Some(_)) | (Some(Part::Data(_)) | None, _) => {
                let message = "the options come first and once, then the file";
                return Err(cavs_proto::status(ErrorReason::StreamOrder, message));
            }
        }
    }
    let missing = || status_of(ProtocolError::Missing { field: "options" });
    Ok((options.ok_or_else(missing)?, data))
}

/// The first problems as the wire has them, and how many there are.
pub(super) fn problems_to_wire(problems: Vec<ImportProblem>) -> (Vec<v1::ImportProblem>, u64) {
    let count = problems.len() as u64;
    (problems.into_iter().take(TOLD).map(Into::into).collect(), count)
}
