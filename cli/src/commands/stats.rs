//! `cavs stats`

use std::time::Duration;

use cavs_proto::{to_timestamp, v1};
use jiff::{Span, Timestamp, Zoned, tz::TimeZone};

use crate::{
    client::Api, config::Config, error::CliError, output::Format, printer::Printer, view::StatsView,
};

/// How often a watcher is told.
const WATCHED: Duration = Duration::from_secs(30);

/// Options of `cavs stats`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Accuracy is only told where it is measured: by people who look at decisions of these days that the machine \
was sure of, without being told them; see: cavs review audit."
)]
pub struct StatsArgs {
    /// Days that are counted one by one, today among them: 1 to 31
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=31))]
    days: u8,
    /// Tell them anew every 30 seconds, until it is interrupted
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(args: StatsArgs, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    loop {
        let days = days(&Timestamp::now().to_zoned(TimeZone::system()), args.days)?;
        let periods: Vec<v1::Period> = days.windows(2).map(period).collect();
        let request =
            v1::GetStatsRequest { period: periods.last().cloned(), further_periods: periods.clone() };
        let stats = api.one(api.stats().get_stats(request)).await?;
        let view = StatsView::new(stats, days.iter().map(|day| day.date().to_string()));
        if args.watch && printer.format() == Format::Table && printer.style().width.is_some() {
            // On a terminal, from its top.
            printer.write("\u{1b}[H\u{1b}[2J")?;
        }
        if !printer.report_again(&view)? || !args.watch {
            return Ok(());
        }
        tokio::time::sleep(WATCHED).await;
    }
}

/// The beginnings of the last days in the reader's zone, oldest first, and of tomorrow: some are 23 or 25 hours long.
fn days(now: &Zoned, count: u8) -> Result<Vec<Zoned>, CliError> {
    let wrong = |error: jiff::Error| CliError::failure("TIME", error.to_string());
    let today = now.start_of_day().map_err(wrong)?;
    (0..=i64::from(count))
        .map(|index| {
            let day = today.checked_add(Span::new().days(index + 1 - i64::from(count))).map_err(wrong)?;
            day.start_of_day().map_err(wrong)
        })
        .collect()
}

fn period(days: &[Zoned]) -> v1::Period {
    let time = |day: Option<&Zoned>| day.map(|day| to_timestamp(day.timestamp()));
    v1::Period { start_time: time(days.first()), end_time: time(days.get(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_zone() {
        let now: Zoned = "2026-03-02T08:00:00+00:00[UTC]".parse().unwrap();
        let days = days(&now, 2).unwrap();
        let starts: Vec<_> = days.iter().map(|day| day.timestamp().to_string()).collect();
        assert_eq!(starts, ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"]);
        assert_eq!(days.windows(2).map(period).count(), 2);
    }
}
