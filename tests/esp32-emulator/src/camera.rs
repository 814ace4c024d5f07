use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Answer, Behaviour, FrameLoop, Outcome, Path, Report, Target,
    behaviour::is_affected,
    hostile::SeededRandom,
    path::{OutgoingFrame, Sender, clock},
};

/// First pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A camera that takes pictures and sends them, one after the other.
#[derive(Debug, Clone)]
pub struct Camera {
    /// Where to, and as whom.
    pub target: Target,
    /// The protocol by which frames are sent.
    pub path: Path,
    /// How fast, how well and how truthfully it sends.
    pub behaviour: Behaviour,
    /// The pictures that it sends, over and over.
    pub frame_loop: FrameLoop,
    /// How often it has been started: no two runs of a camera may have the same number.
    pub boot: u64,
}

impl Camera {
    /// Takes so many pictures, one each interval, and sends each until it arrives or is given up. A picture that is
    /// late because of the one before is sent at once, so that none is left out.
    pub async fn run(self, pictures: u64, mut told: impl FnMut(&Answer)) -> Report {
        let mut sender = Sender::new(self.target.clone(), self.behaviour, self.path);
        let mut random = SeededRandom::new(self.boot);
        let mut report = Report::default();
        let begun = Instant::now();
        for number in 0..pictures {
            let interval = self.behaviour.interval.as_secs_f64();
            sleep_until(begun + Duration::from_secs_f64(interval * number as f64)).await;
            let answers = self.send(number, &mut sender, &mut random, &mut told).await;
            if !is_affected(self.behaviour.truncate_one_in, number) {
                report.pictures += 1;
                report.lost += u64::from(!answers.iter().any(|answer| answer.outcome.arrived()));
            }
            report.answers.extend(answers);
        }
        report
    }

    /// Sends one picture until it arrives, is refused, or is given up.
    async fn send(
        &self,
        number: u64,
        sender: &mut Sender,
        random: &mut SeededRandom,
        told: &mut impl FnMut(&Answer),
    ) -> Vec<Answer> {
        let behaviour = &self.behaviour;
        let truncated = is_affected(behaviour.truncate_one_in, number);
        let mut image = self.frame_loop.frame(number);
        if truncated {
            image.truncate(image.len() / 2);
        }
        let id = format!("{:x}-{number:06}", self.boot);
        let mut outgoing = OutgoingFrame { id, captured_at: clock(behaviour), image, cut: false };
        let mut answers = Vec::new();
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=behaviour.attempts {
            outgoing.cut = attempt == 1 && is_affected(behaviour.cut_one_in, number);
            let begun = Instant::now();
            let outcome = sender.send(&outgoing).await;
            let forgotten =
                attempt == 1 && outcome.arrived() && is_affected(behaviour.lose_answer_one_in, number);
            let answer = Answer {
                frame: number,
                attempt,
                latency: begun.elapsed(),
                damaged: truncated,
                forgotten,
                outcome: outcome.clone(),
            };
            told(&answer);
            answers.push(answer);
            let wait = match outcome {
                Outcome::Answered { .. } | Outcome::Stored { .. } if forgotten => Duration::ZERO,
                Outcome::Answered { .. } | Outcome::Stored { .. } | Outcome::Refused { .. } => break,
                Outcome::Busy { retry_after: Some(time) } => time,
                Outcome::Busy { retry_after: None } | Outcome::Lost { .. } | Outcome::CutOff => {
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    wait
                }
            };
            // Up to a quarter more, so that cameras that failed together do not come back together.
            sleep(wait + wait.mul_f64(random.below(256) as f64 / 1024.0)).await;
        }
        answers
    }
}
