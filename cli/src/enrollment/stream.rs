//! Images to the server, verdicts back.

use std::{
    cell::RefCell,
    collections::VecDeque,
    path::{Path, PathBuf},
    pin::pin,
};

use cavs_proto::{
    enum_to_wire,
    v1::{
        EnrollFromImagesRequest, EnrollFromImagesResponse, EnrollmentImage,
        enroll_from_images_request::Message,
    },
};
use cavs_types::EnrollmentGate;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::images;
use crate::{client::Api, error::CliError, view::VerdictView};

/// Images in memory: one that is read, one that waits, and what the connection takes.
const IMAGES_AHEAD: usize = 1;

/// The server's verdicts on images, and what kept it from giving more.
pub(crate) struct EnrollmentOutcome {
    /// In the order of the images; fewer than these after a failure.
    pub(crate) verdicts: Vec<VerdictView>,
    /// What ended the call before all images had a verdict.
    pub(crate) failure: Option<CliError>,
}

/// On what terms images are taken.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EnrollmentTerms {
    /// Also where they are unlike the student's others.
    pub(crate) accept_unlike: bool,
    /// How strictly they are looked at; as the site's policy says where it is `None`.
    pub(crate) gate: Option<EnrollmentGate>,
}

/// Which image is where on its way: verdicts come back in the order in which images were sent.
struct VerdictCollector<'a> {
    images: &'a [PathBuf],
    terms: EnrollmentTerms,
    verdicts: RefCell<Vec<Option<VerdictView>>>,
    /// Images that were sent and have no verdict yet, in order.
    sent: RefCell<VecDeque<usize>>,
    bar: &'a ProgressBar,
}

/// Enrolls a student from images. One that can't be read is refused here; the others go on.
pub(crate) async fn enroll(
    api: &Api,
    student_id: &str,
    images: &[PathBuf],
    terms: EnrollmentTerms,
    bar: &ProgressBar,
) -> EnrollmentOutcome {
    let collector = VerdictCollector {
        images,
        terms,
        verdicts: RefCell::new(images.iter().map(|_| None).collect()),
        sent: RefCell::default(),
        bar,
    };
    let failure = collector.run(api, student_id).await.and_then(|()| collector.complete()).err();
    EnrollmentOutcome { verdicts: collector.verdicts.take().into_iter().flatten().collect(), failure }
}

impl VerdictCollector<'_> {
    async fn run(&self, api: &Api, student_id: &str) -> Result<(), CliError> {
        let (sender, receiver) = mpsc::channel(IMAGES_AHEAD);
        let mut sending = pin!(self.send(student_id, sender));
        let mut receiving = pin!(self.receive(api, receiver));
        // When the answers end, whatever is still to be sent has nobody left to hear it.
        tokio::select! {
            received = &mut receiving => received,
            () = &mut sending => receiving.await,
        }
    }

    async fn send(&self, student_id: &str, sender: mpsc::Sender<EnrollFromImagesRequest>) {
        let first = Message::StudentId(student_id.to_owned());
        if sender.send(EnrollFromImagesRequest { message: Some(first) }).await.is_err() {
            return;
        }
        for (index, path) in self.images.iter().enumerate() {
            let owned = path.clone();
            // Disks can be slow, and the connection must be served meanwhile.
            let read = tokio::task::spawn_blocking(move || images::read(&owned)).await;
            let data = match read.unwrap_or_else(|_| Err(("IMAGE_UNREADABLE", "can't be read".to_owned()))) {
                Ok(data) => data,
                Err((reason, message)) => {
                    self.record(index, VerdictView::not_sent(shown(path), reason, message));
                    continue;
                }
            };
            // Noted before it is sent: the verdict may be there before `send` returns.
            self.sent.borrow_mut().push_back(index);
            let EnrollmentTerms { accept_unlike, gate } = self.terms;
            let gate = gate.map(enum_to_wire).unwrap_or_default();
            let image = EnrollmentImage { name: file_name(path), data: data.into(), accept_unlike, gate };
            let message = Some(Message::Image(image));
            if sender.send(EnrollFromImagesRequest { message }).await.is_err() {
                return;
            }
        }
    }

    async fn receive(
        &self,
        api: &Api,
        receiver: mpsc::Receiver<EnrollFromImagesRequest>,
    ) -> Result<(), CliError> {
        let mut client = api.enrollment();
        let mut verdicts = api.call(client.enroll_from_images(ReceiverStream::new(receiver))).await?;
        while let Some(verdict) = api.bounded(verdicts.message()).await? {
            self.verdict(verdict)?;
        }
        Ok(())
    }

    fn verdict(&self, verdict: EnrollFromImagesResponse) -> Result<(), CliError> {
        let index = self.sent.borrow_mut().pop_front();
        let index = index.ok_or_else(|| CliError::protocol("the server sent a verdict on no image"))?;
        self.record(index, VerdictView::of_server(shown(&self.images[index]), verdict));
        Ok(())
    }

    fn record(&self, index: usize, verdict: VerdictView) {
        self.verdicts.borrow_mut()[index] = Some(verdict);
        self.bar.inc(1);
    }

    fn complete(&self) -> Result<(), CliError> {
        let missing = self.verdicts.borrow().iter().filter(|verdict| verdict.is_none()).count();
        match missing {
            0 => Ok(()),
            missing => Err(CliError::protocol(format!("the server gave no verdict on {missing} images"))),
        }
    }
}

/// Only the name travels: where somebody keeps their files is nobody's business.
fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
