use cavs_proto::{from_timestamp, status_of, to_timestamp, v1};
use cavs_types::ProtocolError;
use jiff::{SignedDuration, Timestamp};
use tonic::{Request, Response, Status};

use super::convert::caller;
use crate::sightings::{AuditCounts, DeviceStats, Period, SightingCounts, Statistics, Stats, StatsRequest};

pub(super) struct StatsApi(Statistics);

impl StatsApi {
    pub(super) fn new(statistics: Statistics) -> Self {
        Self(statistics)
    }
}

#[tonic::async_trait]
impl v1::stats_service_server::StatsService for StatsApi {
    async fn get_stats(
        &self,
        request: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::GetStatsResponse>, Status> {
        let site = caller(&request)?.site;
        let asked = StatsRequest::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Stats::from(self.0.get(site, &asked).await?.as_ref()).into()))
    }
}

impl TryFrom<v1::GetStatsRequest> for StatsRequest {
    type Error = ProtocolError;

    fn try_from(request: v1::GetStatsRequest) -> Result<Self, ProtocolError> {
        let v1::GetStatsRequest { period, further_periods } = request;
        let period = match period {
            Some(period) => read_period("period", &period)?,
            None => {
                let now = Timestamp::now();
                Period::new("period", now - SignedDuration::from_hours(24), now)?
            }
        };
        let further = further_periods.iter().map(|period| read_period("further_periods", period));
        Self::new(period, further.collect::<Result<_, _>>()?)
    }
}

fn read_period(field: &'static str, period: &v1::Period) -> Result<Period, ProtocolError> {
    let time = |time: &Option<_>| from_timestamp(field, time.as_ref());
    Period::new(field, time(&period.start_time)?, time(&period.end_time)?)
}

impl From<&Stats> for v1::Stats {
    fn from(stats: &Stats) -> Self {
        Self {
            as_of_time: Some(to_timestamp(stats.as_of)),
            pending_reviews: stats.pending.items,
            pending_reviews_exact: stats.pending.exact,
            flagged_reviews: stats.flagged.items,
            devices: stats.devices,
            devices_online: stats.devices_online,
            counts: Some(stats.counts.into()),
            last_hour: Some(stats.last_hour.into()),
            rooms: stats
                .rooms
                .iter()
                .map(|(classroom, counts)| v1::RoomStats {
                    classroom: classroom.clone(),
                    counts: Some((*counts).into()),
                })
                .collect(),
            by_device: stats.by_device.iter().map(Into::into).collect(),
            further_periods: stats.further.iter().map(|counts| (*counts).into()).collect(),
            accuracy: Some(stats.audits.into()),
        }
    }
}

impl From<AuditCounts> for v1::Accuracy {
    fn from(counts: AuditCounts) -> Self {
        let accuracy = counts.accuracy();
        let AuditCounts { right, wrong, unclear, waiting } = counts;
        Self {
            right,
            wrong,
            unclear,
            waiting,
            share: accuracy.map(|accuracy| accuracy.share),
            share_low: accuracy.map(|accuracy| accuracy.interval.0),
            share_high: accuracy.map(|accuracy| accuracy.interval.1),
        }
    }
}

impl From<&DeviceStats> for v1::DeviceStats {
    fn from(device: &DeviceStats) -> Self {
        Self {
            device_id: device.device.to_string(),
            device_name: device.name.clone(),
            counts: Some(device.counts.into()),
            last_seen_time: device.last_seen_at.map(to_timestamp),
        }
    }
}

impl From<SightingCounts> for v1::SightingCounts {
    fn from(counts: SightingCounts) -> Self {
        let SightingCounts { sightings, accepted, pending, unknown, students } = counts;
        Self { sightings, accepted, pending, unknown, students }
    }
}
