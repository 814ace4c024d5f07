//! `cavs sites`

use cavs_proto::{enum_to_wire, v1};
use cavs_types::EnrollmentGate;

use crate::{
    args::{gate_value, words},
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{EnrollmentGateView, SiteList, SiteView},
};

/// What `cavs sites --help` says of sites.
pub(crate) const ABOUT_SITES: &str = "A site is a school or a company location. Students, devices, sightings, gallery and thresholds \
are a site's own. Whoever has a role in one site only never has to name it; others choose with --site, CAVS_SITE, \
the context (`cavs context update NAME --site SITE`), `site` in the configuration file, or `cavs login --site SITE`, in \
this order. Sites are added, renamed and archived by operators: \
see `cavs-server user add --role operator` and `cavs-server user grant`.";

const ABOUT_GATES: &str = "At each gate, a picture has to show one face, upright, which is neither there already nor \
another student's. off asks for nothing else, and is noted with the template. standard: the picture is good enough to be \
recognised by, and not unlike the student's others. strict: it is a good one, and at least as similar to one of the \
student's others as a face that a reviewer would be asked about. `cavs enroll --gate` says another one for one call.";

/// What `cavs sites` does.
#[derive(Debug, clap::Subcommand)]
pub enum SitesCommand {
    /// Add a site; operators only
    Add {
        /// Its name; unique
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the sites in which you have a role, by name
    #[command(visible_alias = "ls")]
    List {
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a site
    Show {
        /// Name or id
        #[arg(value_name = "SITE", add = completion::sites())]
        which: String,
    },
    /// Give a site another name or another time zone; operators only
    Update {
        /// Name or id
        #[arg(value_name = "SITE", add = completion::sites())]
        which: String,
        /// Its new name; unique
        #[arg(long)]
        name: Option<String>,
        /// What its clocks show, as Europe/Berlin
        #[arg(long, value_name = "ZONE")]
        time_zone: Option<String>,
    },
    /// Show or set how strictly the site in use looks at faces before they become templates
    #[command(after_help = ABOUT_GATES)]
    Gate {
        /// The gate from now on; admins only
        #[arg(value_name = "GATE", value_parser = words(EnrollmentGate::ALL, gate_value))]
        gate: Option<EnrollmentGate>,
    },
    /// Archive a site for good: it can be looked at, and its devices are not admitted; operators only
    Archive {
        /// Name or id
        #[arg(value_name = "SITE", add = completion::sites())]
        which: String,
        /// Says that it is meant: nobody can undo it
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(command: SitesCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    let site = match command {
        SitesCommand::List { extent } => {
            return paging::list::<SiteList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request = v1::ListSitesRequest { page_size, page_token, with_total_size };
                let page = api.call(api.sites().list_sites(request)).await?;
                Ok(Page {
                    items: page.sites,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await;
        }
        SitesCommand::Gate { gate } => return self::gate(&api, gate, printer).await,
        SitesCommand::Add { name } => {
            api.one(api.sites().create_site(v1::CreateSiteRequest { name })).await?
        }
        SitesCommand::Show { which } => lookup::site(&api, &which).await?,
        SitesCommand::Update { which, name, time_zone } => {
            let update_mask =
                Some(super::mask([("name", name.is_some()), ("time_zone", time_zone.is_some())])?);
            let id = lookup::site(&api, &which).await?.id;
            let (name, time_zone) = (name.unwrap_or_default(), time_zone.unwrap_or_default());
            let site = Some(v1::Site { id, name, time_zone, ..v1::Site::default() });
            api.one(api.sites().update_site(v1::UpdateSiteRequest { site, update_mask })).await?
        }
        SitesCommand::Archive { which, yes } => {
            let site = lookup::site(&api, &which).await?;
            if !yes {
                printer.confirm(&format!("Archive {} ({})?", site.name, site.id))?;
            }
            let site_id = site.id;
            api.one(api.sites().archive_site(v1::ArchiveSiteRequest { site_id })).await?
        }
    };
    printer.report(&SiteView::from(site))
}

async fn gate(api: &Api, gate: Option<EnrollmentGate>, printer: &Printer) -> Result<(), CliError> {
    let policy = match gate {
        None => api.one(api.enrollment().get_enrollment_policy(v1::GetEnrollmentPolicyRequest {})).await?,
        Some(gate) => {
            let policy = Some(v1::EnrollmentPolicy { gate: enum_to_wire(gate) });
            let request = v1::UpdateEnrollmentPolicyRequest { policy };
            api.one(api.enrollment().update_enrollment_policy(request)).await?
        }
    };
    printer.report(&EnrollmentGateView::from(policy))
}
