//! `cavs gallery`

use cavs_proto::v1;

use crate::{client::Api, config::Config, error::CliError, printer::Printer, view::GalleryView};

/// What `cavs gallery` does.
#[derive(Debug, clap::Subcommand)]
pub enum GalleryCommand {
    /// Show size, memory and counters of the server's gallery, and the false matches to be expected
    #[command(after_help = "The false matches are those that this gallery's own faces suggest: a sample of \
templates is looked up among all other students', as strangers before a camera would be.")]
    Show,
}

pub(crate) async fn run(command: GalleryCommand, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        GalleryCommand::Show => {
            let gallery = api.one(api.galleries().get_gallery(v1::GetGalleryRequest {})).await?;
            printer.report(&GalleryView::from(gallery))
        }
    }
}
