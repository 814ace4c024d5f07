//! Whose face it is: an image holds the word for what is known of it.

use cavs_proto::{invalid_argument, status_with_retry, to_timestamp, v1};
use cavs_types::ErrorReason;
use tonic::{Request, Response, Status};
use v1::{match_face::Face, verify_request::Student};

use super::Service;

fn word(face: Option<v1::MatchFace>) -> Result<String, Status> {
    match face.and_then(|face| face.face) {
        Some(Face::Image(image)) => Ok(String::from_utf8_lossy(&image).into_owned()),
        Some(Face::Embedding(_)) | None => Err(invalid_argument("face", "is required")),
    }
}

impl Service {
    /// Students by their place on the list.
    fn candidate(&self, place: usize, similarity: f32) -> Option<v1::Candidate> {
        let student = self.state().students.get(place).cloned()?;
        let student = v1::StudentRef { id: student.id, number: student.number, name: student.name };
        Some(v1::Candidate { student: Some(student), similarity })
    }
}

#[tonic::async_trait]
impl v1::match_service_server::MatchService for Service {
    async fn identify(
        &self,
        request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        use v1::Decision::{Accepted, Pending, Unknown};
        self.authorise(&request)?;
        let (decision, reason, similarities, margin) = match word(request.into_inner().face)?.as_str() {
            "known" => (Accepted, "MATCHED", vec![0.712, 0.301], Some(0.411)),
            "doubtful" => (Pending, "NARROW_MARGIN", vec![0.644, 0.634], Some(0.01)),
            "stranger" => (Unknown, "LOW_SIMILARITY", Vec::new(), None),
            "often" => {
                let wait = std::time::Duration::from_secs(7);
                return Err(status_with_retry(
                    ErrorReason::RateLimited,
                    "matching was asked too often",
                    wait,
                ));
            }
            _ => (Unknown, "NO_FACE", Vec::new(), None),
        };
        let candidates = similarities.into_iter().enumerate();
        let candidates = candidates.filter_map(|(place, similarity)| self.candidate(place, similarity));
        Ok(Response::new(v1::IdentifyResponse {
            match_id: "018f3f6a-0000-7000-8000-0000000000e1".to_owned(),
            decision: decision.into(),
            reason: reason.to_owned(),
            candidates: candidates.collect(),
            margin,
            threshold: 0.42,
            threshold_version: 3,
            quality: None,
        }))
    }

    async fn verify(
        &self,
        request: Request<v1::VerifyRequest>,
    ) -> Result<Response<v1::VerifyResponse>, Status> {
        self.authorise(&request)?;
        let v1::VerifyRequest { face, student } = request.into_inner();
        let known = self.state().students.iter().any(|known| match &student {
            Some(Student::StudentId(id)) => known.id == *id,
            Some(Student::StudentNumber(number)) => known.number == *number,
            None => false,
        });
        if !known {
            return Err(cavs_proto::status(ErrorReason::StudentNotFound, "no such student"));
        }
        let verified = word(face)? == "known";
        Ok(Response::new(v1::VerifyResponse {
            match_id: "018f3f6a-0000-7000-8000-0000000000e2".to_owned(),
            verified,
            reason: if verified { "MATCHED" } else { "LOW_SIMILARITY" }.to_owned(),
            similarity: Some(if verified { 0.712 } else { 0.104 }),
            threshold: 0.42,
            threshold_version: 3,
            quality: None,
        }))
    }

    async fn list_matches(
        &self,
        request: Request<v1::ListMatchesRequest>,
    ) -> Result<Response<v1::ListMatchesResponse>, Status> {
        self.authorise(&request)?;
        let student = self.candidate(0, 0.0).and_then(|candidate| candidate.student);
        let asked = |kind: v1::MatchKind, minute: i64| v1::Match {
            id: format!("018f3f6a-0000-7000-8000-0000000000f{minute}"),
            kind: kind.into(),
            asked_by: "door\u{1b}[2J".to_owned(),
            ask_time: Some(to_timestamp(jiff::Timestamp::from_second(1_772_445_600 - 60 * minute).unwrap())),
            by_image: true,
            asked_student: (kind == v1::MatchKind::Verify).then(|| student.clone()).flatten(),
            decision: v1::Decision::Accepted.into(),
            reason: "MATCHED".to_owned(),
            student: student.clone(),
            similarity: Some(0.712),
        };
        Ok(Response::new(v1::ListMatchesResponse {
            matches: vec![asked(v1::MatchKind::Identify, 1), asked(v1::MatchKind::Verify, 2)],
            next_page_token: String::new(),
            total_size: 2,
            total_size_exact: true,
        }))
    }
}
