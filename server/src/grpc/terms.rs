use cavs_proto::{status_of, to_timestamp, v1};
use cavs_types::ProtocolError;
use tonic::{Request, Response, Status};

use super::convert::{caller, masked, page_request, required_id, total_to_wire};
use crate::{
    page::ListName,
    schedule::{
        Days, Holiday, NewTerm, ScheduleKey, ScheduleVersion, Term, TermChange, Terms, date, optional_date,
        schedule_name,
    },
    text::{external_id, lookup_name},
};

pub(super) struct TermApi(Terms);

impl TermApi {
    pub(super) fn new(terms: Terms) -> Self {
        Self(terms)
    }
}

#[tonic::async_trait]
impl v1::term_service_server::TermService for TermApi {
    async fn create_term(
        &self,
        request: Request<v1::CreateTermRequest>,
    ) -> Result<Response<v1::CreateTermResponse>, Status> {
        let site = caller(&request)?.site;
        let new = NewTerm::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Term::from(self.0.create(site, &new).await?).into()))
    }

    async fn get_term(
        &self,
        request: Request<v1::GetTermRequest>,
    ) -> Result<Response<v1::GetTermResponse>, Status> {
        use v1::get_term_request::Key;
        let site = caller(&request)?.site;
        let key = match request.into_inner().key {
            Some(Key::Id(id)) => ScheduleKey::Id(required_id("id", &id).map_err(status_of)?),
            Some(Key::Name(name)) => ScheduleKey::Name(lookup_name("name", &name).map_err(status_of)?),
            None => return Err(status_of(ProtocolError::Missing { field: "key" })),
        };
        Ok(Response::new(v1::Term::from(self.0.get(site, &key).await?).into()))
    }

    async fn list_terms(
        &self,
        request: Request<v1::ListTermsRequest>,
    ) -> Result<Response<v1::ListTermsResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListTermsRequest { page_size, page_token, with_total_size, date } = request.into_inner();
        let on = optional_date("date", &date).map_err(status_of)?;
        let list = ListName::new("terms").with("date", on.map(|on| on.to_string()).as_deref());
        let page = page_request(page_size, &page_token, with_total_size, list)?;
        let found = self.0.list(site, on, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListTermsResponse {
            terms: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn update_term(
        &self,
        request: Request<v1::UpdateTermRequest>,
    ) -> Result<Response<v1::UpdateTermResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::UpdateTermRequest { term, update_mask } = request.into_inner();
        let term = term.ok_or(ProtocolError::Missing { field: "term" }).map_err(status_of)?;
        let id = required_id("term.id", &term.id).map_err(status_of)?;
        let seen = ScheduleVersion::from_etag(&term.etag).map_err(status_of)?;
        let change = term_change(&term, update_mask).map_err(status_of)?;
        Ok(Response::new(v1::Term::from(self.0.update(site, id, seen, &change).await?).into()))
    }

    async fn delete_term(
        &self,
        request: Request<v1::DeleteTermRequest>,
    ) -> Result<Response<v1::DeleteTermResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("term_id", &request.into_inner().term_id).map_err(status_of)?;
        self.0.delete(site, id).await?;
        Ok(Response::new(v1::DeleteTermResponse {}))
    }

    async fn create_holiday(
        &self,
        request: Request<v1::CreateHolidayRequest>,
    ) -> Result<Response<v1::CreateHolidayResponse>, Status> {
        let site = caller(&request)?.site;
        let (name, days) = holiday_from_wire(&request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Holiday::from(self.0.create_holiday(site, &name, days).await?).into()))
    }

    async fn list_holidays(
        &self,
        request: Request<v1::ListHolidaysRequest>,
    ) -> Result<Response<v1::ListHolidaysResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListHolidaysRequest { page_size, page_token, with_total_size } = request.into_inner();
        let page = page_request(page_size, &page_token, with_total_size, ListName::new("holidays"))?;
        let found = self.0.holidays(site, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListHolidaysResponse {
            holidays: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn delete_holiday(
        &self,
        request: Request<v1::DeleteHolidayRequest>,
    ) -> Result<Response<v1::DeleteHolidayResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("holiday_id", &request.into_inner().holiday_id).map_err(status_of)?;
        self.0.delete_holiday(site, id).await?;
        Ok(Response::new(v1::DeleteHolidayResponse {}))
    }
}

impl TryFrom<v1::CreateTermRequest> for NewTerm {
    type Error = ProtocolError;

    fn try_from(request: v1::CreateTermRequest) -> Result<Self, ProtocolError> {
        let v1::CreateTermRequest { name, start_date, end_date, external_id: external, request_id: _ } =
            request;
        Ok(Self {
            name: schedule_name("name", &name)?,
            days: Days::new(date("start_date", &start_date)?, date("end_date", &end_date)?)?,
            external_id: external_id(&external)?,
        })
    }
}

fn term_change(term: &v1::Term, mask: Option<prost_types::FieldMask>) -> Result<TermChange, ProtocolError> {
    let fields = [
        ("name", !term.name.is_empty()),
        ("start_date", !term.start_date.is_empty()),
        ("end_date", !term.end_date.is_empty()),
        ("external_id", !term.external_id.is_empty()),
    ];
    let mut change = TermChange::default();
    for path in masked(mask, &fields)? {
        match path {
            "name" => change.name = Some(schedule_name("term.name", &term.name)?),
            "start_date" => change.starts_on = Some(date("term.start_date", &term.start_date)?),
            "end_date" => change.ends_on = Some(date("term.end_date", &term.end_date)?),
            _ => change.external_id = Some(external_id(&term.external_id)?),
        }
    }
    Ok(change)
}

fn holiday_from_wire(request: &v1::CreateHolidayRequest) -> Result<(String, Days), ProtocolError> {
    let first = date("start_date", &request.start_date)?;
    let last = optional_date("end_date", &request.end_date)?.unwrap_or(first);
    Ok((schedule_name("name", &request.name)?, Days::new(first, last)?))
}

impl From<Term> for v1::Term {
    fn from(term: Term) -> Self {
        let Term { id, name, days, external_id, version, created_at, updated_at } = term;
        Self {
            id: id.to_string(),
            name,
            start_date: days.first().to_string(),
            end_date: days.last().to_string(),
            external_id,
            create_time: Some(to_timestamp(created_at)),
            update_time: Some(to_timestamp(updated_at)),
            etag: version.etag(),
        }
    }
}

impl From<Holiday> for v1::Holiday {
    fn from(holiday: Holiday) -> Self {
        let Holiday { id, name, days, created_at } = holiday;
        Self {
            id: id.to_string(),
            name,
            start_date: days.first().to_string(),
            end_date: days.last().to_string(),
            create_time: Some(to_timestamp(created_at)),
        }
    }
}
