use cavs_proto::{enum_from_wire, status_of, to_timestamp, v1};
use cavs_types::{GroupId, ImportFormat, ProtocolError};
use jiff::civil::Date;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{caller, masked, optional_id, page_request, required_id, student_ref, total_to_wire},
    layer::Caller,
    uploads::{IMPORTS, RETRY, problems_to_wire, receive_file},
};
use crate::{
    error::ServiceError,
    page::ListName,
    people::ImportOptions,
    schedule::{
        Group, GroupChange, GroupFilter, GroupMember, Groups, MemberEnd, Membership, NewGroup,
        RosterImportOptions, ScheduleKey, ScheduleRef, ScheduleVersion, optional_date, schedule_name,
    },
    text::{external_id, lookup_name},
};

pub(super) struct GroupApi(Groups, Semaphore);

impl GroupApi {
    pub(super) fn new(groups: Groups) -> Self {
        Self(groups, Semaphore::new(IMPORTS))
    }
}

#[tonic::async_trait]
impl v1::group_service_server::GroupService for GroupApi {
    async fn create_group(
        &self,
        request: Request<v1::CreateGroupRequest>,
    ) -> Result<Response<v1::CreateGroupResponse>, Status> {
        let site = caller(&request)?.site;
        let new = NewGroup::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Group::from(self.0.create(site, &new).await?).into()))
    }

    async fn get_group(
        &self,
        request: Request<v1::GetGroupRequest>,
    ) -> Result<Response<v1::GetGroupResponse>, Status> {
        use v1::get_group_request::Key;
        let site = caller(&request)?.site;
        let key = match request.into_inner().key {
            Some(Key::Id(id)) => ScheduleKey::Id(required_id("id", &id).map_err(status_of)?),
            Some(Key::Name(name)) => ScheduleKey::Name(lookup_name("name", &name).map_err(status_of)?),
            None => return Err(status_of(ProtocolError::Missing { field: "key" })),
        };
        Ok(Response::new(v1::Group::from(self.0.get(site, &key).await?).into()))
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListGroupsRequest { page_size, page_token, with_total_size, term_id, archived } =
            request.into_inner();
        let filter = GroupFilter { term: optional_id("term_id", &term_id).map_err(status_of)?, archived };
        let page = page_request(page_size, &page_token, with_total_size, filter.list_name())?;
        let found = self.0.list(site, &filter, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListGroupsResponse {
            groups: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn update_group(
        &self,
        request: Request<v1::UpdateGroupRequest>,
    ) -> Result<Response<v1::UpdateGroupResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::UpdateGroupRequest { group, update_mask } = request.into_inner();
        let group = group.ok_or(ProtocolError::Missing { field: "group" }).map_err(status_of)?;
        let id = required_id("group.id", &group.id).map_err(status_of)?;
        let seen = ScheduleVersion::from_etag(&group.etag).map_err(status_of)?;
        let change = group_change(&group, update_mask).map_err(status_of)?;
        Ok(Response::new(v1::Group::from(self.0.update(site, id, seen, &change).await?).into()))
    }

    async fn archive_group(
        &self,
        request: Request<v1::ArchiveGroupRequest>,
    ) -> Result<Response<v1::ArchiveGroupResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("group_id", &request.into_inner().group_id).map_err(status_of)?;
        Ok(Response::new(v1::Group::from(self.0.archive(site, id).await?).into()))
    }

    async fn delete_group(
        &self,
        request: Request<v1::DeleteGroupRequest>,
    ) -> Result<Response<v1::DeleteGroupResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("group_id", &request.into_inner().group_id).map_err(status_of)?;
        self.0.delete(site, id).await?;
        Ok(Response::new(v1::DeleteGroupResponse {}))
    }

    async fn add_group_member(
        &self,
        request: Request<v1::AddGroupMemberRequest>,
    ) -> Result<Response<v1::AddGroupMemberResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::AddGroupMemberRequest { group_id, student_id, start_date, end_date } = request.into_inner();
        let group = required_id("group_id", &group_id).map_err(status_of)?;
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        let first = match optional_date("start_date", &start_date).map_err(status_of)? {
            Some(first) => first,
            None => self.0.today(site).await?,
        };
        let last = optional_date("end_date", &end_date).map_err(status_of)?;
        if last.is_some_and(|last| last < first) {
            return Err(status_of(ProtocolError::invalid("end_date", "is before the first day")));
        }
        let member = self.0.add_member(site, group, student, (first, last)).await?;
        Ok(Response::new(v1::GroupMember::from(member).into()))
    }

    async fn remove_group_member(
        &self,
        request: Request<v1::RemoveGroupMemberRequest>,
    ) -> Result<Response<v1::RemoveGroupMemberResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::RemoveGroupMemberRequest { group_id, student_id, end_date, entirely } = request.into_inner();
        let group = required_id("group_id", &group_id).map_err(status_of)?;
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        let last = optional_date("end_date", &end_date).map_err(status_of)?;
        let end = if entirely { Some(MemberEnd::Entirely) } else { last.map(MemberEnd::After) };
        self.0.remove_member(site, group, student, end).await?;
        Ok(Response::new(v1::RemoveGroupMemberResponse {}))
    }

    async fn list_group_members(
        &self,
        request: Request<v1::ListGroupMembersRequest>,
    ) -> Result<Response<v1::ListGroupMembersResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let group: GroupId = required_id("group_id", &request.group_id).map_err(status_of)?;
        let on = match (request.all_dates, optional_date("date", &request.date).map_err(status_of)?) {
            (true, _) => None,
            (false, Some(on)) => Some(on),
            (false, None) => Some(self.0.today(site).await?),
        };
        let list = ListName::new("group members")
            .with("group", Some(&group.to_string()))
            .with("date", on.map(|on| on.to_string()).as_deref());
        let page = page_request(request.page_size, &request.page_token, request.with_total_size, list)?;
        let found = self.0.members(site, group, on, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListGroupMembersResponse {
            members: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn list_student_groups(
        &self,
        request: Request<v1::ListStudentGroupsRequest>,
    ) -> Result<Response<v1::ListStudentGroupsResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListStudentGroupsRequest { student_id, date } = request.into_inner();
        let student = required_id("student_id", &student_id).map_err(status_of)?;
        let on = optional_date("date", &date).map_err(status_of)?;
        let memberships = self.0.of_student(site, student, on).await?.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListStudentGroupsResponse { memberships }))
    }

    async fn import_rosters(
        &self,
        request: Request<Streaming<v1::ImportRostersRequest>>,
    ) -> Result<Response<v1::ImportRostersResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let busy = |_| ServiceError::Busy { what: "the import of rosters", retry_in: RETRY };
        let _place = self.1.try_acquire().map_err(busy)?;
        let (options, data) = receive_file(request.into_inner()).await?;
        let options = RosterImportOptions::try_from(options).map_err(status_of)?;
        let (plan, applied) = self.0.import(site, data, options, by).await?;
        let (problems, problem_count) = problems_to_wire(plan.problems);
        Ok(Response::new(v1::ImportRostersResponse {
            applied,
            terms_created: plan.new_terms.len() as u64,
            terms_updated: plan.terms.len() as u64,
            groups_created: plan.new_groups.len() as u64,
            groups_updated: plan.groups.len() as u64,
            members_added: plan.added,
            members_changed: plan.changed,
            members_ended: plan.ended,
            unchanged: plan.unchanged,
            problems,
            problem_count,
            ignored_columns: plan.ignored_columns,
        }))
    }
}

impl TryFrom<v1::RosterImportOptions> for RosterImportOptions {
    type Error = ProtocolError;

    fn try_from(options: v1::RosterImportOptions) -> Result<Self, ProtocolError> {
        Ok(Self {
            format: enum_from_wire("options.format", options.format)?,
            text: ImportOptions::new(ImportFormat::Csv, &options.encoding, &options.delimiter)?,
            dry_run: options.dry_run,
            create_groups: options.create_groups,
            start_date: optional_date("options.start_date", &options.start_date)?,
            end_missing: options.end_missing,
        })
    }
}

impl TryFrom<v1::CreateGroupRequest> for NewGroup {
    type Error = ProtocolError;

    fn try_from(request: v1::CreateGroupRequest) -> Result<Self, ProtocolError> {
        let v1::CreateGroupRequest { name, term_id, external_id: external, request_id: _ } = request;
        Ok(Self {
            name: schedule_name("name", &name)?,
            term: optional_id("term_id", &term_id)?,
            external_id: external_id(&external)?,
        })
    }
}

fn group_change(
    group: &v1::Group,
    mask: Option<prost_types::FieldMask>,
) -> Result<GroupChange, ProtocolError> {
    let fields = [
        ("name", !group.name.is_empty()),
        ("term_id", !group.term_id.is_empty()),
        ("external_id", !group.external_id.is_empty()),
    ];
    let mut change = GroupChange::default();
    for path in masked(mask, &fields)? {
        match path {
            "name" => change.name = Some(schedule_name("group.name", &group.name)?),
            "term_id" => change.term = Some(optional_id("group.term_id", &group.term_id)?),
            _ => change.external_id = Some(external_id(&group.external_id)?),
        }
    }
    Ok(change)
}

/// As the wire has the last day of a membership.
fn last_day(day: Option<Date>) -> String {
    day.map(|day| day.to_string()).unwrap_or_default()
}

impl From<Group> for v1::Group {
    fn from(group: Group) -> Self {
        let Group { id, name, term, external_id, member_count, archived_at, version, .. } = group;
        let (term_id, term_name) = term.map(|term| (term.id.to_string(), term.name)).unwrap_or_default();
        Self {
            id: id.to_string(),
            name,
            term_id,
            term_name,
            external_id,
            member_count,
            archive_time: archived_at.map(to_timestamp),
            create_time: Some(to_timestamp(group.created_at)),
            update_time: Some(to_timestamp(group.updated_at)),
            etag: version.etag(),
        }
    }
}

impl From<ScheduleRef<GroupId>> for v1::GroupRef {
    fn from(group: ScheduleRef<GroupId>) -> Self {
        Self { id: group.id.to_string(), name: group.name }
    }
}

impl From<GroupMember> for v1::GroupMember {
    fn from(member: GroupMember) -> Self {
        let GroupMember { student, starts_on, ends_on } = member;
        let (start_date, end_date) = (starts_on.to_string(), last_day(ends_on));
        Self { student: Some(student_ref(student)), start_date, end_date }
    }
}

impl From<Membership> for v1::Membership {
    fn from(membership: Membership) -> Self {
        let Membership { group, starts_on, ends_on } = membership;
        Self { group: Some(group.into()), start_date: starts_on.to_string(), end_date: last_day(ends_on) }
    }
}
