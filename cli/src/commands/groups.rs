//! `cavs groups`

use cavs_proto::v1;

use crate::{
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{GroupList, GroupView, MemberList, MembershipsView},
};

/// What `cavs groups` does.
#[derive(Debug, clap::Subcommand)]
pub enum GroupsCommand {
    /// Add a group
    Add {
        /// Its name; unique
        #[arg(value_name = "NAME")]
        name: String,
        /// Its term, by name or id
        #[arg(long)]
        term: Option<String>,
        /// What another system calls it; unique
        #[arg(long, value_name = "ID", default_value = "")]
        external_id: String,
    },
    /// List groups by name
    #[command(visible_alias = "ls")]
    List {
        /// Only groups of this term
        #[arg(long)]
        term: Option<String>,
        /// Archived ones instead of the others
        #[arg(long)]
        archived: bool,
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a group
    Show {
        /// Name or id
        #[arg(value_name = "GROUP", add = completion::groups())]
        group: String,
    },
    /// Change a group
    Update {
        /// Name or id
        #[arg(value_name = "GROUP", add = completion::groups())]
        group: String,
        /// Its new name; unique
        #[arg(long)]
        name: Option<String>,
        /// Its term, by name or id; empty for none
        #[arg(long)]
        term: Option<String>,
        /// What another system calls it; unique
        #[arg(long, value_name = "ID")]
        external_id: Option<String>,
    },
    /// Have a group be in no list; its roster and its sessions stay
    Archive {
        /// Name or id
        #[arg(value_name = "GROUP", add = completion::groups())]
        group: String,
    },
    /// Delete a group that has no sessions, with its roster
    Rm {
        /// Name or id
        #[arg(value_name = "GROUP", add = completion::groups())]
        group: String,
    },
    /// Who belongs to a group when
    #[command(subcommand)]
    Members(MembersCommand),
    /// List the groups of a student
    Of {
        /// Number or id
        #[arg(value_name = "STUDENT", add = completion::students())]
        student: String,
        /// Only those that the student is a member of on this day
        #[arg(long, value_name = "DATE", default_value = "")]
        on: String,
    },
}

/// What `cavs groups members` does.
#[derive(Debug, clap::Subcommand)]
pub enum MembersCommand {
    /// List members by number
    #[command(visible_alias = "ls")]
    List {
        /// Name or id
        #[arg(value_name = "GROUP", add = completion::groups())]
        group: String,
        /// Who are members on this day; without it, today
        #[arg(long, value_name = "DATE", default_value = "")]
        on: String,
        /// Of all days: a student may be there more than once
        #[arg(long, conflicts_with = "on")]
        all_dates: bool,
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Add members
    Add {
        /// Name or id
        #[arg(value_name = "GROUP", add = completion::groups())]
        group: String,
        /// Numbers or ids
        #[arg(value_name = "STUDENT", required = true, add = completion::students())]
        students: Vec<String>,
        /// The first day; without it, today
        #[arg(long, value_name = "DATE", default_value = "")]
        from: String,
        /// The last day; without it, until further notice
        #[arg(long, value_name = "DATE", default_value = "")]
        until: String,
    },
    /// End memberships
    Rm {
        /// Name or id
        #[arg(value_name = "GROUP", add = completion::groups())]
        group: String,
        /// Numbers or ids
        #[arg(value_name = "STUDENT", required = true, add = completion::students())]
        students: Vec<String>,
        /// The last day; without it, yesterday
        #[arg(long, value_name = "DATE", default_value = "", conflicts_with = "entirely")]
        until: String,
        /// As if they had never been members
        #[arg(long)]
        entirely: bool,
    },
}

pub(crate) async fn run(command: GroupsCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    let group = match command {
        GroupsCommand::Add { name, term, external_id } => {
            let term_id = lookup::term_id(&api, term.as_deref()).await?;
            let request = v1::CreateGroupRequest { name, term_id, external_id, request_id: String::new() };
            api.one(api.groups().create_group(request)).await?
        }
        GroupsCommand::List { term, archived, extent } => {
            let term_id = lookup::term_id(&api, term.as_deref()).await?;
            return paging::list::<GroupList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let term_id = term_id.clone();
                let request =
                    v1::ListGroupsRequest { page_size, page_token, with_total_size, term_id, archived };
                let page = api.call(api.groups().list_groups(request)).await?;
                Ok(Page {
                    items: page.groups,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await;
        }
        GroupsCommand::Show { group } => lookup::group(&api, &group).await?,
        GroupsCommand::Update { group, name, term, external_id } => {
            let said = [
                ("name", name.is_some()),
                ("term_id", term.is_some()),
                ("external_id", external_id.is_some()),
            ];
            let update_mask = Some(super::mask(said)?);
            let group = v1::Group {
                id: lookup::group(&api, &group).await?.id,
                name: name.unwrap_or_default(),
                term_id: lookup::term_id(&api, term.as_deref()).await?,
                external_id: external_id.unwrap_or_default(),
                ..v1::Group::default()
            };
            let request = v1::UpdateGroupRequest { group: Some(group), update_mask };
            api.one(api.groups().update_group(request)).await?
        }
        GroupsCommand::Archive { group } => {
            let group_id = lookup::group(&api, &group).await?.id;
            api.one(api.groups().archive_group(v1::ArchiveGroupRequest { group_id })).await?
        }
        GroupsCommand::Rm { group } => {
            let v1::Group { id, name, .. } = lookup::group(&api, &group).await?;
            api.call(api.groups().delete_group(v1::DeleteGroupRequest { group_id: id })).await?;
            printer.note(&format!("deleted the group {name}"));
            return Ok(());
        }
        GroupsCommand::Members(command) => return members(command, &api, printer).await,
        GroupsCommand::Of { student, on } => {
            let student_id = lookup::student(&api, &student).await?.id;
            let request = v1::ListStudentGroupsRequest { student_id, date: on };
            let found = api.call(api.groups().list_student_groups(request)).await?;
            return printer.report(&MembershipsView::from(found));
        }
    };
    printer.report(&GroupView::from(group))
}

async fn members(command: MembersCommand, api: &Api, printer: &Printer) -> Result<(), CliError> {
    match command {
        MembersCommand::List { group, on, all_dates, extent } => {
            let group_id = lookup::group(api, &group).await?.id;
            paging::list::<MemberList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request = v1::ListGroupMembersRequest {
                    group_id: group_id.clone(),
                    page_size,
                    page_token,
                    with_total_size,
                    date: on.clone(),
                    all_dates,
                };
                let page = api.call(api.groups().list_group_members(request)).await?;
                Ok(Page {
                    items: page.members,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await
        }
        MembersCommand::Add { group, students, from, until } => {
            let group = lookup::group(api, &group).await?;
            for student in &students {
                let request = v1::AddGroupMemberRequest {
                    group_id: group.id.clone(),
                    student_id: lookup::student(api, student).await?.id,
                    start_date: from.clone(),
                    end_date: until.clone(),
                };
                let added = api.one(api.groups().add_group_member(request)).await;
                let added = added.map_err(|error| error.about(student))?;
                let until = match added.end_date.as_str() {
                    "" => String::new(),
                    last => format!(" until {last}"),
                };
                let name = &group.name;
                printer.note(&format!("{student} is a member of {name} from {}{until}", added.start_date));
            }
            Ok(())
        }
        MembersCommand::Rm { group, students, until, entirely } => {
            let group = lookup::group(api, &group).await?;
            for student in &students {
                let request = v1::RemoveGroupMemberRequest {
                    group_id: group.id.clone(),
                    student_id: lookup::student(api, student).await?.id,
                    end_date: until.clone(),
                    entirely,
                };
                let removed = api.call(api.groups().remove_group_member(request)).await;
                removed.map_err(|error| error.about(student))?;
                printer.note(&format!("{student} is no member of {} any more", group.name));
            }
            Ok(())
        }
    }
}
