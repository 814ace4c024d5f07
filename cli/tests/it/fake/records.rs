//! Devices, sightings and reviews of the server.

use std::pin::Pin;

use cavs_proto::{
    status, to_timestamp,
    v1::{self, get_device_request::Key},
};
use cavs_types::{DeviceId, ErrorReason};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{Service, counted, page};

fn device() -> v1::Device {
    v1::Device {
        id: "01890000-0000-7000-8000-00000000000d".to_owned(),
        name: "room-12".to_owned(),
        kind: v1::DeviceKind::Agent.into(),
        classroom: "Room 12".to_owned(),
        status: v1::DeviceStatus::Active.into(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl v1::device_service_server::DeviceService for Service {
    type WatchDevicesStream = Messages<v1::WatchDevicesResponse>;

    async fn watch_devices(
        &self,
        request: Request<v1::WatchDevicesRequest>,
    ) -> Result<Response<Self::WatchDevicesStream>, Status> {
        self.authorise(&request)?;
        let maintenance = v1::Device { status: v1::DeviceStatus::Maintenance.into(), ..device() };
        let messages =
            [device(), maintenance].map(|device| Ok(v1::WatchDevicesResponse { devices: vec![device] }));
        let end = Err(status(ErrorReason::Unauthenticated, "the session has ended"));
        let messages: Vec<_> = messages.into_iter().chain([end]).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn list_device_settings(
        &self,
        request: Request<v1::ListDeviceSettingsRequest>,
    ) -> Result<Response<v1::ListDeviceSettingsResponse>, Status> {
        self.authorise(&request)?;
        let settings = |rate: &str| [("source.rate".to_owned(), rate.to_owned())];
        let version = |version, rate, unset| v1::DeviceSettingsVersion {
            version,
            settings: settings(rate).into(),
            push_time: hour(8),
            pushed_by: "admin".to_owned(),
            set: settings(rate).into(),
            unset,
        };
        let versions = vec![version(2, "2", vec!["motion.hold".to_owned()]), version(1, "5", vec![])];
        Ok(Response::new(v1::ListDeviceSettingsResponse { versions, next_page_token: String::new() }))
    }

    async fn create_device(
        &self,
        request: Request<v1::CreateDeviceRequest>,
    ) -> Result<Response<v1::CreateDeviceResponse>, Status> {
        self.authorise(&request)?;
        let v1::CreateDeviceRequest { name, kind, classroom, request_id: _ } = request.into_inner();
        let id = DeviceId::generate().to_string();
        Ok(Response::new(v1::Device { id, name, kind, classroom, ..device() }.into()))
    }

    async fn get_device(
        &self,
        request: Request<v1::GetDeviceRequest>,
    ) -> Result<Response<v1::GetDeviceResponse>, Status> {
        self.authorise(&request)?;
        match request.into_inner().key {
            Some(Key::Name(name)) if name == "room-12" => Ok(Response::new(self.configured().into())),
            Some(Key::Name(name)) if name == "door-cam" => Ok(Response::new(self.camera().into())),
            _ => Err(status(ErrorReason::DeviceNotFound, "no such device")),
        }
    }

    async fn list_devices(
        &self,
        request: Request<v1::ListDevicesRequest>,
    ) -> Result<Response<v1::ListDevicesResponse>, Status> {
        self.authorise(&request)?;
        let devices = vec![device()];
        let (total_size, total_size_exact) = counted(1, request.into_inner().with_total_size);
        let next_page_token = String::new();
        Ok(Response::new(v1::ListDevicesResponse { devices, next_page_token, total_size, total_size_exact }))
    }

    async fn update_device(
        &self,
        request: Request<v1::UpdateDeviceRequest>,
    ) -> Result<Response<v1::UpdateDeviceResponse>, Status> {
        self.authorise(&request)?;
        let v1::UpdateDeviceRequest { device: change, update_mask, .. } = request.into_inner();
        let (mut device, change) = (device(), change.unwrap_or_default());
        for path in update_mask.unwrap_or_default().paths {
            match path.as_str() {
                "name" => device.name = change.name.clone(),
                "classroom" => device.classroom = change.classroom.clone(),
                "status" => device.status = change.status,
                "description" => device.description = change.description.clone(),
                "noted_address" => device.noted_address = change.noted_address.clone(),
                "mac_address" => device.mac_address = change.mac_address.clone(),
                other => panic!("{other}"),
            }
        }
        Ok(Response::new(device.into()))
    }

    async fn replace_device(
        &self,
        request: Request<v1::ReplaceDeviceRequest>,
    ) -> Result<Response<v1::ReplaceDeviceResponse>, Status> {
        self.authorise(&request)?;
        let id = request.into_inner().device_id;
        let device = if id == CAMERA { self.camera() } else { device() };
        Ok(Response::new(v1::Device { id: NEW.to_owned(), ..device }.into()))
    }

    async fn configure_device(
        &self,
        request: Request<v1::ConfigureDeviceRequest>,
    ) -> Result<Response<v1::ConfigureDeviceResponse>, Status> {
        self.authorise(&request)?;
        self.state().configured = Some(request.into_inner());
        Ok(Response::new(self.configured().into()))
    }

    async fn assign_camera(
        &self,
        request: Request<v1::AssignCameraRequest>,
    ) -> Result<Response<v1::AssignCameraResponse>, Status> {
        self.authorise(&request)?;
        self.state().proxy = request.into_inner().proxy_id;
        Ok(Response::new(self.camera().into()))
    }

    async fn issue_device_token(
        &self,
        request: Request<v1::IssueDeviceTokenRequest>,
    ) -> Result<Response<v1::IssueDeviceTokenResponse>, Status> {
        self.authorise(&request)?;
        assert_eq!(request.into_inner().device_id, CAMERA);
        self.state().tokens += 1;
        Ok(Response::new(v1::IssueDeviceTokenResponse { token: "0123abcd".to_owned() }))
    }

    async fn revoke_device_tokens(
        &self,
        request: Request<v1::RevokeDeviceTokensRequest>,
    ) -> Result<Response<v1::RevokeDeviceTokensResponse>, Status> {
        self.authorise(&request)?;
        let revoked = std::mem::take(&mut self.state().tokens);
        Ok(Response::new(v1::RevokeDeviceTokensResponse { revoked }))
    }

    async fn get_device_coverage(
        &self,
        request: Request<v1::GetDeviceCoverageRequest>,
    ) -> Result<Response<v1::GetDeviceCoverageResponse>, Status> {
        self.authorise(&request)?;
        // A camera is new; the other one hung once.
        if request.into_inner().device_id == CAMERA {
            let gaps = vec![gap(8, 9, v1::coverage_gap::Reason::NotDelivered, None)];
            let coverage = Some(v1::DeviceCoverage { gaps, ..Default::default() });
            return Ok(Response::new(v1::GetDeviceCoverageResponse { coverage }));
        }
        let frozen = Some(v1::WatchState::CameraFrozen);
        let coverage = v1::DeviceCoverage {
            watched_share: 0.75,
            gaps: vec![
                gap(8, 9, v1::coverage_gap::Reason::State, frozen),
                gap(11, 12, v1::coverage_gap::Reason::NotWatched, None),
            ],
            delivered_until_time: hour(12),
        };
        Ok(Response::new(v1::GetDeviceCoverageResponse { coverage: Some(coverage) }))
    }

    async fn revoke_device(
        &self,
        request: Request<v1::RevokeDeviceRequest>,
    ) -> Result<Response<v1::RevokeDeviceResponse>, Status> {
        self.authorise(&request)?;
        let id = request.into_inner().device_id;
        let status = v1::DeviceStatus::Revoked.into();
        let device = if id == CAMERA { self.camera() } else { device() };
        Ok(Response::new(v1::Device { status, ..device }.into()))
    }
}

/// An hour of a day.
fn hour(hour: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: 1_800_057_600 + 3600 * hour, nanos: 0 })
}

fn gap(
    from: i64,
    until: i64,
    reason: v1::coverage_gap::Reason,
    state: Option<v1::WatchState>,
) -> v1::CoverageGap {
    v1::CoverageGap {
        start_time: hour(from),
        end_time: hour(until),
        reason: reason.into(),
        state: state.map(Into::into).unwrap_or_default(),
    }
}

/// The sighting that comes in while somebody watches.
pub(crate) const NEWER: &str = "01890000-0000-7000-8000-000000000052";
const CAMERA: &str = "01890000-0000-7000-8000-0000000000ca";
/// What takes a replaced device's place.
const NEW: &str = "01890000-0000-7000-8000-0000000000ee";

impl Service {
    fn camera(&self) -> v1::Device {
        let state = self.state();
        v1::Device {
            id: CAMERA.to_owned(),
            name: "door-cam".to_owned(),
            kind: v1::DeviceKind::Esp32Cam.into(),
            proxy_id: state.proxy.clone(),
            proxy_name: if state.proxy.is_empty() { String::new() } else { "room-12".to_owned() },
            token_count: state.tokens,
            ..device()
        }
    }

    /// What was pushed last, as the server answers it.
    fn configured(&self) -> v1::Device {
        let state = self.state();
        let Some(request) = &state.configured else { return device() };
        let wanted = v1::DeviceSettings { version: 2, settings: request.set.clone() };
        let running = v1::SettingsReport {
            running_version: 1,
            rejected_version: 2,
            rejection: "no frame came through within 30 s".to_owned(),
            ..Default::default()
        };
        let health = v1::DeviceHealth {
            temperature: Some(51.25),
            frames: 95,
            frames_dropped: 5,
            ..Default::default()
        };
        let heartbeat = v1::Heartbeat { rejected: 3, health: Some(health), ..Default::default() };
        let (wanted, running, heartbeat) = (Some(wanted), Some(running), Some(heartbeat));
        v1::Device { online: true, spooled: 7, wanted, running, heartbeat, ..device() }
    }
}

#[tonic::async_trait]
impl v1::sighting_service_server::SightingService for Service {
    type WatchSightingsStream = Messages<v1::WatchSightingsResponse>;
    type ExportSightingsStream = Messages<v1::ExportSightingsResponse>;

    async fn watch_sightings(
        &self,
        request: Request<v1::WatchSightingsRequest>,
    ) -> Result<Response<Self::WatchSightingsStream>, Status> {
        self.authorise(&request)?;
        let mut state = self.state();
        state.watched_after.push(request.into_inner().after_sighting_id);
        // The first stream tells of what was there before, too, and ends by itself; the next one goes on where it
        // ended, and is refused.
        let told = if state.watched_after.len() == 1 {
            let new = state.sightings.iter().map(|one| v1::Sighting { id: NEWER.to_owned(), ..one.clone() });
            let sightings = state.sightings.iter().cloned().chain(new).collect();
            Ok(v1::WatchSightingsResponse { sightings })
        } else {
            Err(status(ErrorReason::RoleInsufficient, "not any more"))
        };
        Ok(Response::new(Box::pin(tokio_stream::once(told))))
    }

    async fn export_sightings(
        &self,
        request: Request<v1::ExportSightingsRequest>,
    ) -> Result<Response<Self::ExportSightingsStream>, Status> {
        self.authorise(&request)?;
        let mut state = self.state();
        state.filters.extend(request.into_inner().filter);
        let mut messages: Vec<_> = state
            .sightings
            .iter()
            .map(|sighting| Ok(v1::ExportSightingsResponse { sightings: vec![sighting.clone(); 2] }))
            .collect();
        if state.export_breaks {
            messages.push(Err(status(ErrorReason::ShuttingDown, "the server is stopping")));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn list_sightings(
        &self,
        request: Request<v1::ListSightingsRequest>,
    ) -> Result<Response<v1::ListSightingsResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        let mut state = self.state();
        state.filters.extend(request.filter);
        let (sightings, next_page_token) = page(&state.sightings, &request.page_token);
        let (total_size, total_size_exact) = counted(state.sightings.len(), request.with_total_size);
        Ok(Response::new(v1::ListSightingsResponse {
            sightings,
            next_page_token,
            total_size,
            total_size_exact,
        }))
    }

    async fn get_sighting(
        &self,
        request: Request<v1::GetSightingRequest>,
    ) -> Result<Response<v1::GetSightingResponse>, Status> {
        self.authorise(&request)?;
        Ok(Response::new(self.sighting(&request.into_inner().id)?.into()))
    }
}

#[tonic::async_trait]
impl v1::review_service_server::ReviewService for Service {
    async fn list_pending(
        &self,
        request: Request<v1::ListPendingRequest>,
    ) -> Result<Response<v1::ListPendingResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        let mut state = self.state();
        state.filters.extend(request.filter);
        state.queue_filters.extend(request.queue_filter);
        let (sightings, next_page_token) = page(&state.sightings, &request.page_token);
        let (total_size, total_size_exact) = counted(state.sightings.len(), request.with_total_size);
        Ok(Response::new(v1::ListPendingResponse {
            sightings,
            next_page_token,
            total_size,
            total_size_exact,
        }))
    }

    async fn get_review_item(
        &self,
        request: Request<v1::GetReviewItemRequest>,
    ) -> Result<Response<v1::GetReviewItemResponse>, Status> {
        self.authorise(&request)?;
        let sighting = self.sighting(&request.into_inner().sighting_id)?;
        let evidence = if sighting.has_evidence { b"jpeg".as_slice().into() } else { Default::default() };
        Ok(Response::new(v1::GetReviewItemResponse { sighting: Some(sighting), evidence }))
    }

    async fn list_candidate_portraits(
        &self,
        request: Request<v1::ListCandidatePortraitsRequest>,
    ) -> Result<Response<v1::ListCandidatePortraitsResponse>, Status> {
        self.authorise(&request)?;
        self.sighting(&request.into_inner().sighting_id)?;
        Ok(Response::new(v1::ListCandidatePortraitsResponse::default()))
    }

    async fn review_sighting(
        &self,
        request: Request<v1::ReviewSightingRequest>,
    ) -> Result<Response<v1::ReviewSightingResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        let mut sighting = self.sighting(&request.sighting_id)?;
        let mut state = self.state();
        if !state.reviews.is_empty() && !request.replace {
            return Err(status(ErrorReason::AlreadyReviewed, "the sighting was approved before"));
        }
        let review = v1::Review {
            verdict: request.verdict,
            reviewer: "admin".to_owned(),
            notes: request.notes.clone(),
            review_time: at("2026-03-03T09:00:00Z"),
            ..Default::default()
        };
        sighting.reviews.push(review.clone());
        sighting.review = Some(review);
        let also_reviewed = if request.whole_visit { 2 } else { 0 };
        state.reviews.push(request);
        if let Some(held) = state.sightings.iter_mut().find(|held| held.id == sighting.id) {
            *held = sighting.clone();
        }
        Ok(Response::new(v1::ReviewSightingResponse { sighting: Some(sighting), also_reviewed }))
    }

    async fn review_pending(
        &self,
        request: Request<v1::ReviewPendingRequest>,
    ) -> Result<Response<v1::ReviewPendingResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        let mut state = self.state();
        state.queue_filters.extend(request.queue_filter);
        let chosen = u32::try_from(state.sightings.len()).unwrap().min(request.limit);
        let reviewed = if request.dry_run { 0 } else { chosen };
        Ok(Response::new(v1::ReviewPendingResponse { chosen, reviewed, passed_over: 0 }))
    }

    async fn list_own_reviews(
        &self,
        request: Request<v1::ListOwnReviewsRequest>,
    ) -> Result<Response<v1::ListOwnReviewsResponse>, Status> {
        self.authorise(&request)?;
        let sightings = self.state().sightings.clone();
        Ok(Response::new(v1::ListOwnReviewsResponse { sightings }))
    }

    async fn withdraw_review(
        &self,
        request: Request<v1::WithdrawReviewRequest>,
    ) -> Result<Response<v1::WithdrawReviewResponse>, Status> {
        self.authorise(&request)?;
        let v1::WithdrawReviewRequest { sighting_id, notes, given_together, own: _ } = request.into_inner();
        let mut state = self.state();
        let sighting = state.sightings.iter_mut().find(|sighting| sighting.id == sighting_id);
        let sighting = sighting.ok_or_else(|| status(ErrorReason::SightingNotFound, "no such sighting"))?;
        let Some(newest) = sighting.reviews.iter_mut().rfind(|review| review.withdrawal.is_none()) else {
            return Err(status(ErrorReason::NotReviewed, "no verdict on the sighting is in force"));
        };
        let (reviewer, withdraw_time) = ("admin".to_owned(), at("2026-03-03T10:00:00Z"));
        newest.withdrawal = Some(v1::Withdrawal { reviewer, withdraw_time, notes });
        sighting.review = sighting.reviews.iter().rfind(|review| review.withdrawal.is_none()).cloned();
        let also_withdrawn = if given_together { 2 } else { 0 };
        Ok(Response::new(v1::WithdrawReviewResponse { sighting: Some(sighting.clone()), also_withdrawn }))
    }

    async fn get_next_audit(
        &self,
        request: Request<v1::GetNextAuditRequest>,
    ) -> Result<Response<v1::GetNextAuditResponse>, Status> {
        self.authorise(&request)?;
        let state = self.state();
        let audit = state.sightings.first().map(|sighting| v1::Audit {
            sighting_id: sighting.id.clone(),
            capture_time: sighting.capture_time,
            evidence: b"jpeg".as_slice().into(),
            choices: sighting
                .prediction
                .iter()
                .flat_map(|p| &p.candidates)
                .filter_map(|c| c.student.clone())
                .collect(),
        });
        Ok(Response::new(v1::GetNextAuditResponse { audit }))
    }

    async fn answer_audit(
        &self,
        request: Request<v1::AnswerAuditRequest>,
    ) -> Result<Response<v1::AnswerAuditResponse>, Status> {
        self.authorise(&request)?;
        let id = request.into_inner().sighting_id;
        let mut state = self.state();
        let waiting = state.sightings.len();
        state.sightings.retain(|sighting| sighting.id != id);
        if state.sightings.len() == waiting {
            return Err(status(ErrorReason::AuditNotFound, "no audit of the sighting waits for an answer"));
        }
        Ok(Response::new(v1::AnswerAuditResponse {}))
    }

    async fn claim_pending(
        &self,
        request: Request<v1::ClaimPendingRequest>,
    ) -> Result<Response<v1::ClaimPendingResponse>, Status> {
        self.authorise(&request)?;
        let v1::ClaimPendingRequest { by_visit, limit, lease_seconds, .. } = request.into_inner();
        assert_eq!(lease_seconds, 1800);
        let claim = v1::ReviewClaim {
            reviewer: "admin".to_owned(),
            expire_time: at("2026-03-03T09:30:00Z"),
            ..v1::ReviewClaim::default()
        };
        let state = self.state();
        let first = state.sightings.iter().take(limit as usize).cloned();
        let sightings = first.map(|sighting| v1::Sighting {
            claim: Some(claim.clone()),
            visit_size: if by_visit { 3 } else { 0 },
            ..sighting
        });
        Ok(Response::new(v1::ClaimPendingResponse { sightings: sightings.collect() }))
    }

    async fn release_claims(
        &self,
        request: Request<v1::ReleaseClaimsRequest>,
    ) -> Result<Response<v1::ReleaseClaimsResponse>, Status> {
        self.authorise(&request)?;
        Ok(Response::new(v1::ReleaseClaimsResponse { released: 1 }))
    }

    async fn assign_pending(
        &self,
        request: Request<v1::AssignPendingRequest>,
    ) -> Result<Response<v1::AssignPendingResponse>, Status> {
        self.authorise(&request)?;
        let v1::AssignPendingRequest { sighting_ids, reviewer } = request.into_inner();
        if reviewer == "nobody-there" {
            return Err(status(
                ErrorReason::UserNotFound,
                "no reviewer of the site is called \"nobody-there\"",
            ));
        }
        Ok(Response::new(v1::AssignPendingResponse { assigned: u32::try_from(sighting_ids.len()).unwrap() }))
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn at(time: &str) -> Option<prost_types::Timestamp> {
    time.parse().ok().map(to_timestamp)
}

impl Service {
    fn sighting(&self, id: &str) -> Result<v1::Sighting, Status> {
        let state = self.state();
        let found = state.sightings.iter().find(|sighting| sighting.id == id).cloned();
        found.ok_or_else(|| status(ErrorReason::SightingNotFound, "no such sighting"))
    }
}

#[tonic::async_trait]
impl v1::stats_service_server::StatsService for Service {
    async fn get_stats(
        &self,
        request: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::GetStatsResponse>, Status> {
        self.authorise(&request)?;
        let request = request.into_inner();
        assert_eq!(request.period.as_ref(), request.further_periods.last());
        let counts = v1::SightingCounts { sightings: 40, accepted: 31, pending: 6, unknown: 3, students: 12 };
        Ok(Response::new(
            v1::Stats {
                as_of_time: Some(to_timestamp("2026-03-02T10:00:00Z".parse().unwrap())),
                pending_reviews: 6,
                pending_reviews_exact: true,
                flagged_reviews: 1,
                devices: 3,
                devices_online: 2,
                counts: Some(counts),
                last_hour: Some(v1::SightingCounts::default()),
                rooms: vec![v1::RoomStats { classroom: "Room 12".to_owned(), counts: Some(counts) }],
                by_device: vec![v1::DeviceStats {
                    device_name: "door \u{1b}[31m".to_owned(),
                    counts: Some(counts),
                    ..v1::DeviceStats::default()
                }],
                further_periods: vec![counts; request.further_periods.len()],
                accuracy: Some(v1::Accuracy {
                    right: 96,
                    wrong: 4,
                    unclear: 1,
                    waiting: 2,
                    share: Some(0.96),
                    share_low: Some(0.9016),
                    share_high: Some(0.9843),
                }),
            }
            .into(),
        ))
    }
}
