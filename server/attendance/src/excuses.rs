use cavs_types::ExcuseId;
use jiff::Timestamp;

use crate::Excuse;

/// The excuses that cover all of the time between `from` and `until` together; empty where some of it is not covered,
/// or where there is none to cover.
pub(crate) fn covering(excuses: &[&Excuse], from: Timestamp, until: Timestamp) -> Vec<ExcuseId> {
    let mut touching: Vec<&&Excuse> =
        excuses.iter().filter(|e| e.starts_at < until && e.ends_at > from).collect();
    touching.sort_by_key(|excuse| (excuse.starts_at, excuse.ends_at, excuse.id));
    let mut covered_until = from;
    let mut ids = Vec::new();
    for excuse in touching {
        if excuse.starts_at > covered_until {
            return Vec::new();
        }
        if excuse.ends_at > covered_until {
            covered_until = excuse.ends_at;
            ids.push(excuse.id);
        }
    }
    if covered_until >= until && from < until { ids } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use cavs_types::StudentId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn excuses_cover_together() {
        let at = |minute: i64| Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
        let excuse = |id: u128, from, until| Excuse {
            id: ExcuseId::from_uuid(Uuid::from_u128(id)),
            student: StudentId::from_uuid(Uuid::nil()),
            starts_at: at(from),
            ends_at: at(until),
        };
        let all = [excuse(1, 0, 20), excuse(2, 20, 60), excuse(3, 5, 10), excuse(4, 70, 80)];
        let all: Vec<&Excuse> = all.iter().collect();
        let ids = |from, until| -> Vec<u128> {
            covering(&all, at(from), at(until)).iter().map(|id| id.uuid().as_u128()).collect()
        };
        assert_eq!(ids(0, 60), [1, 2]);
        assert_eq!(ids(0, 15), [1]);
        assert_eq!(ids(30, 60), [2]);
        assert!(ids(-1, 20).is_empty());
        assert!(ids(30, 61).is_empty());
        assert!(ids(55, 75).is_empty());
        assert!(ids(20, 20).is_empty());
        assert!(ids(61, 65).is_empty());
    }
}
