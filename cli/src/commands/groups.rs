//! `cavs groups`

use std::path::PathBuf;

use cavs_proto::{
    enum_to_wire,
    v1::{self, import_rosters_request::Message},
};
use cavs_types::RosterFormat;
use clap::builder::PossibleValue;

use super::students::{IMPORT_LIMIT, parts};
use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{GroupList, GroupView, MemberList, MembershipsView, RosterImportView},
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
    /// Change rosters as a file says
    #[command(after_help = ABOUT_IMPORT)]
    Import(ImportArgs),
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

const ABOUT_IMPORT: &str = "A CSV file has a header: group, number (or external_id), and from and until, as \
2026-09-01, where they are known. Without a day in `from`, members are so from --from on, else from the first day of \
the group's term, else from today; without one in `until`, until further notice.\n\n\
Of a OneRoster bundle (a ZIP archive) come terms (academicSessions.csv), groups (classes.csv) and the enrollments of \
students (enrollments.csv); the students themselves come with `cavs students import`, which goes first.\n\n\
Where anything is wrong, nothing is changed (exit code 1).";

/// Options of `cavs groups import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Form of the file; by its name (.zip is OneRoster) where it is not given
    #[arg(long, value_name = "FORMAT", value_parser = words(RosterFormat::ALL, format))]
    format: Option<RosterFormat>,
    /// How the text is encoded, as latin1 or windows-1252
    #[arg(long, value_name = "NAME", default_value = "")]
    encoding: String,
    /// What stands between two fields
    #[arg(long, value_name = "CHARACTER", default_value = "")]
    delimiter: String,
    /// Change nothing; say what would be changed
    #[arg(long)]
    dry_run: bool,
    /// Make groups that a CSV file names and that are not there
    #[arg(long)]
    create_groups: bool,
    /// Since when members are so of whom the file does not say
    #[arg(long, value_name = "DATE", default_value = "")]
    from: String,
    /// End the memberships of those of whom the file says nothing, in groups of which it speaks
    #[arg(long)]
    end_missing: bool,
}

fn format(format: RosterFormat) -> PossibleValue {
    let help = match format {
        RosterFormat::Csv => "Comma-separated values with a header, also with semicolons or tabs",
        RosterFormat::Oneroster => "A OneRoster 1.1 or 1.2 bundle: a ZIP archive, bulk or delta",
    };
    PossibleValue::new(format.as_str()).help(help)
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
        GroupsCommand::Import(args) => return import(&api, args, printer).await,
        GroupsCommand::Of { student, on } => {
            let student_id = lookup::student(&api, &student).await?.id;
            let request = v1::ListStudentGroupsRequest { student_id, date: on };
            let found = api.call(api.groups().list_student_groups(request)).await?;
            return printer.report(&MembershipsView::from(found));
        }
    };
    printer.report(&GroupView::from(group))
}

async fn import(api: &Api, args: ImportArgs, printer: &Printer) -> Result<(), CliError> {
    let is_zip = args.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    let format = args.format.unwrap_or(if is_zip { RosterFormat::Oneroster } else { RosterFormat::Csv });
    let options = v1::RosterImportOptions {
        format: enum_to_wire(format),
        encoding: args.encoding,
        delimiter: if args.delimiter == "\\t" { "\t".to_owned() } else { args.delimiter },
        dry_run: args.dry_run,
        create_groups: args.create_groups,
        start_date: args.from,
        end_missing: args.end_missing,
    };
    let parts = parts(&args.file)?.map(Message::Data);
    let messages: Vec<_> = std::iter::once(Message::Options(options)).chain(parts).collect();
    let messages = messages.into_iter().map(|message| v1::ImportRostersRequest { message: Some(message) });
    let done =
        api.call_within(IMPORT_LIMIT, api.groups().import_rosters(tokio_stream::iter(messages))).await?;
    let done = RosterImportView::new(done, args.dry_run);
    printer.report(&done)?;
    if done.problem_count > 0 { Err(CliError::Reported) } else { Ok(()) }
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
