//! `cavs attendance card`, `pin` and `code`: how people check in by themselves.

use std::io::{self, BufRead};

use cavs_proto::v1::{self, check_in_with_card_request, check_in_with_pin_request};
use secrecy::{ExposeSecret, SecretString};

use super::{super::login::read_password, session_id};
use crate::{
    client::Api, completion, config::Config, error::CliError, lookup, printer::Printer, view::CheckedInView,
};

/// Where somebody checks in.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct PlaceArgs {
    /// In this session: its id, or the name of its group
    #[arg(long, add = completion::groups())]
    session: Option<String>,
    /// In the session that is open in this room, of a group that they are of
    #[arg(long, add = completion::rooms())]
    room: Option<String>,
}

/// Options of `cavs attendance card`.
#[derive(Debug, clap::Args)]
pub struct CardArgs {
    /// Its number, as the reader gives it; without it, each line of standard input is one
    #[arg(value_name = "CARD")]
    card: Option<String>,
    /// Where.
    #[command(flatten)]
    place: PlaceArgs,
}

/// Options of `cavs attendance pin`.
#[derive(Debug, clap::Args)]
pub struct PinArgs {
    /// Number of the student
    #[arg(value_name = "NUMBER")]
    number: String,
    /// Read the PIN from standard input
    #[arg(long)]
    pin_stdin: bool,
    /// Where.
    #[command(flatten)]
    place: PlaceArgs,
}

/// Options of `cavs attendance code`.
#[derive(Debug, clap::Args)]
pub struct CodeArgs {
    /// The code that is shown in the room
    #[arg(value_name = "CODE")]
    code: String,
    /// Own number
    #[arg(long)]
    number: String,
    /// Read the PIN from standard input
    #[arg(long)]
    pin_stdin: bool,
}

enum Place {
    Session(String),
    Room(String),
    RoomNamed(String),
}

impl PlaceArgs {
    async fn find(&self, api: &Api) -> Result<Place, CliError> {
        match (&self.session, &self.room) {
            (Some(session), _) => Ok(Place::Session(session_id(api, session).await?)),
            // A reader may not look rooms up.
            (None, Some(room)) if lookup::is_id(room) => Ok(Place::Room(room.clone())),
            (None, Some(room)) => Ok(Place::RoomNamed(room.clone())),
            (None, None) => Err(CliError::usage("say where: --session or --room")),
        }
    }
}

pub(super) async fn card(api: &Api, args: CardArgs, printer: &Printer) -> Result<(), CliError> {
    use check_in_with_card_request::Place as Wire;
    let place = match args.place.find(api).await? {
        Place::Session(id) => Wire::SessionId(id),
        Place::Room(id) => Wire::RoomId(id),
        Place::RoomNamed(name) => Wire::RoomName(name),
    };
    let check_in = async |card_number: String| {
        let request = v1::CheckInWithCardRequest { card_number, place: Some(place.clone()) };
        Ok::<_, CliError>(CheckedInView::from(api.one(api.check_ins().check_in_with_card(request)).await?))
    };
    if let Some(card) = args.card {
        return printer.report(&check_in(card).await?);
    }
    // A reader that types: whoever has the wrong card is told so, and the next one is read.
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| CliError::failure("INPUT", format!("standard input: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        match check_in(line).await {
            Ok(done) => {
                if !printer.report_again(&done)? {
                    return Ok(());
                }
            }
            Err(error) => printer.error(&error),
        }
    }
    Ok(())
}

pub(super) async fn pin(api: &Api, args: PinArgs, printer: &Printer) -> Result<(), CliError> {
    use check_in_with_pin_request::Place as Wire;
    let place = match args.place.find(api).await? {
        Place::Session(id) => Wire::SessionId(id),
        Place::Room(id) => Wire::RoomId(id),
        Place::RoomNamed(name) => Wire::RoomName(name),
    };
    let pin = pin_of(&args.number, args.pin_stdin, printer)?;
    let request = v1::CheckInWithPinRequest {
        student_number: args.number,
        pin: pin.expose_secret().to_owned(),
        place: Some(place),
    };
    printer.report(&CheckedInView::from(api.one(api.check_ins().check_in_with_pin(request)).await?))
}

/// Nobody has to be logged in.
pub(super) async fn code(args: CodeArgs, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let pin = pin_of(&args.number, args.pin_stdin, printer)?;
    let api = Api::connect_anonymously(config).await?;
    let request = v1::CheckInWithCodeRequest {
        code: args.code,
        student_number: args.number,
        pin: pin.expose_secret().to_owned(),
    };
    printer.report(&CheckedInView::from(api.one(api.check_ins().check_in_with_code(request)).await?))
}

fn pin_of(number: &str, from_stdin: bool, printer: &Printer) -> Result<SecretString, CliError> {
    if from_stdin {
        return read_password();
    }
    if !printer.may_ask() {
        return Err(CliError::usage("nobody can be asked for the PIN; give --pin-stdin"));
    }
    rpassword::prompt_password(format!("PIN of {number}: "))
        .map(Into::into)
        .map_err(|error| CliError::failure("INPUT", format!("the PIN can't be read: {error}")))
}
