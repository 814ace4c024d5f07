//! What follows from a file for the terms, groups and rosters that there are.

use std::collections::{BTreeMap, HashMap, HashSet};

use cavs_types::{GroupId, StudentId, TermId};
use jiff::{ToSpan, civil::Date};

use super::{
    RosterImportOptions,
    rosters::{GroupRow, MemberRow, RosterFile, RowKey, TermRow},
};
use crate::{
    people::{ImportProblem, Place},
    schedule::{Days, NewGroup, NewTerm, ScheduleVersion},
};

/// What there is when a file of rosters is looked at.
#[derive(Debug, Clone, Default)]
pub struct KnownRosters {
    /// All terms, with the versions that they have.
    pub terms: Vec<(TermId, ScheduleVersion, NewTerm)>,
    /// All groups, with the versions that they have, and whether they are archived.
    pub groups: Vec<(GroupId, ScheduleVersion, NewGroup, bool)>,
    /// Students who are not erased: number and external id.
    pub students: Vec<(StudentId, String, String)>,
    /// Who is of a group from which day to which.
    pub members: Vec<(GroupId, StudentId, Date, Option<Date>)>,
}

/// A group, a student, the first day that the membership has (`None`: it is new), and the first and the last day that it
/// is to have.
pub(super) type ChangedMember = (GroupId, StudentId, Option<Date>, Date, Option<Date>);

/// Changes of terms, groups and rosters, and why there are no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RosterPlan {
    /// Terms to be added.
    pub new_terms: Vec<(TermId, NewTerm)>,
    /// Terms to be changed, with the versions that they have.
    pub terms: Vec<(TermId, ScheduleVersion, NewTerm)>,
    /// Groups to be added.
    pub new_groups: Vec<(GroupId, NewGroup)>,
    /// Groups to be changed, with the versions that they have.
    pub groups: Vec<(GroupId, ScheduleVersion, NewGroup)>,
    /// Memberships that are to be as they are not yet, by the first day that they have (`None`: new ones).
    pub members: Vec<ChangedMember>,
    /// Memberships that are to be no more, by their first day.
    pub removed: Vec<(GroupId, StudentId, Date)>,
    /// How many of the members are new.
    pub added: u64,
    /// How many of them have other days.
    pub changed: u64,
    /// How many of them, and of those removed, end.
    pub ended: u64,
    /// Memberships that are so already.
    pub unchanged: u64,
    /// In the order of the file.
    pub problems: Vec<ImportProblem>,
    /// Columns that mean nothing here.
    pub ignored_columns: Vec<String>,
}

/// From which day to which somebody is a member, and the first day that the database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stay {
    before: Option<Date>,
    from: Date,
    until: Option<Date>,
}

impl Stay {
    fn meets(&self, from: Date, until: Option<Date>) -> bool {
        until.is_none_or(|until| self.from <= until) && self.until.is_none_or(|own| from <= own)
    }
}

impl RosterPlan {
    /// Compares a file with what there is, on a day by the clocks of the site.
    #[must_use]
    pub fn new(file: RosterFile, known: &KnownRosters, options: &RosterImportOptions, today: Date) -> Self {
        let RosterFile { terms, groups, members, problems, ignored_columns, is_delta, is_bundle } = file;
        let mut plan = Self { problems, ignored_columns, ..Self::default() };
        let terms = plan.take_terms(&terms, known);
        let mut planning = Planning::new(known, &terms, today, options);
        planning.take_groups(&mut plan, &groups, known, &terms);
        planning.name_new_groups(&mut plan, &members, options.create_groups && !is_bundle);
        let mut named: HashSet<(GroupId, StudentId)> = HashSet::new();
        // What is gone comes first: whoever is enrolled anew is there.
        let (gone, there): (Vec<_>, Vec<_>) = members.iter().partition(|row| row.is_gone);
        for row in gone.into_iter().chain(there) {
            match planning.take(row, is_bundle) {
                Ok(Some(pair)) => drop(named.insert(pair)),
                Ok(None) => {}
                Err(problem) => plan.problems.push(problem),
            }
        }
        plan.problems.sort_by(|a, b| a.place.cmp(&b.place));
        // Of whom a row speaks that can't be used, nobody knows.
        if options.end_missing && !is_delta && plan.problems.is_empty() {
            let spoken: HashSet<GroupId> =
                named.iter().map(|(group, _)| *group).chain(planning.spoken).collect();
            planning.spoken = spoken;
            planning.end_others(&named);
        }
        planning.finish(&mut plan, known);
        plan
    }

    /// Whether it may be done.
    #[must_use]
    pub const fn is_wanted(&self, options: &RosterImportOptions) -> bool {
        !options.dry_run && self.problems.is_empty()
    }

    /// The terms by what the file's source calls them, with their days.
    fn take_terms(&mut self, rows: &[TermRow], known: &KnownRosters) -> HashMap<String, (TermId, Days)> {
        let mut found: HashMap<String, (TermId, Days)> = known
            .terms
            .iter()
            .filter(|(.., term)| !term.external_id.is_empty())
            .map(|(id, _, term)| (term.external_id.clone(), (*id, term.days)))
            .collect();
        let mut names: HashMap<&str, TermId> =
            known.terms.iter().map(|(id, _, term)| (term.name.as_str(), *id)).collect();
        for row in rows {
            let wanted =
                NewTerm { name: row.name.clone(), days: row.days, external_id: row.external_id.clone() };
            let there = found.get(&row.external_id).map(|(id, _)| *id);
            let id = there.unwrap_or_else(TermId::generate);
            if names.get(row.name.as_str()).is_some_and(|other| *other != id) {
                let message = format!("another term is named {:?}", row.name);
                self.problems.push(ImportProblem::new(&row.place, Some("title"), message));
                continue;
            }
            names.insert(&row.name, id);
            found.insert(row.external_id.clone(), (id, row.days));
            match known.terms.iter().find(|(known, ..)| Some(*known) == there) {
                Some((_, _, before)) if *before == wanted => {}
                Some((_, version, _)) => self.terms.push((id, *version, wanted)),
                None => self.new_terms.push((id, wanted)),
            }
        }
        found
    }
}

struct Planning {
    today: Date,
    default_start: Option<Date>,
    groups: HashMap<RowKey, GroupId>,
    /// The first day of each group's term.
    begins: HashMap<GroupId, Date>,
    students: HashMap<RowKey, StudentId>,
    stays: BTreeMap<(GroupId, StudentId), Vec<Stay>>,
    /// Where the file speaks of a stay.
    said: HashMap<(GroupId, StudentId, Date), Place>,
    /// Groups of which the file speaks.
    spoken: HashSet<GroupId>,
}

impl Planning {
    fn new(
        known: &KnownRosters,
        terms: &HashMap<String, (TermId, Days)>,
        today: Date,
        options: &RosterImportOptions,
    ) -> Self {
        let mut days: HashMap<TermId, Days> =
            known.terms.iter().map(|(id, _, term)| (*id, term.days)).collect();
        days.extend(terms.values().copied());
        let mut planning = Self {
            today,
            default_start: options.start_date,
            groups: HashMap::new(),
            begins: HashMap::new(),
            students: HashMap::new(),
            stays: BTreeMap::new(),
            said: HashMap::new(),
            spoken: HashSet::new(),
        };
        for (id, _, group, is_archived) in &known.groups {
            if !is_archived {
                planning.groups.insert(RowKey::Own(group.name.clone()), *id);
            }
            if !group.external_id.is_empty() {
                planning.groups.insert(RowKey::External(group.external_id.clone()), *id);
            }
            if let Some(days) = group.term.and_then(|term| days.get(&term)) {
                planning.begins.insert(*id, days.first());
            }
        }
        for (id, number, external) in &known.students {
            planning.students.insert(RowKey::Own(number.clone()), *id);
            if !external.is_empty() {
                planning.students.insert(RowKey::External(external.clone()), *id);
            }
        }
        for (group, student, from, until) in &known.members {
            let stay = Stay { before: Some(*from), from: *from, until: *until };
            planning.stays.entry((*group, *student)).or_default().push(stay);
        }
        planning
    }

    fn take_groups(
        &mut self,
        plan: &mut RosterPlan,
        rows: &[GroupRow],
        known: &KnownRosters,
        terms: &HashMap<String, (TermId, Days)>,
    ) {
        for row in rows {
            let external = RowKey::External(row.external_id.clone());
            let there = self.groups.get(&external).copied();
            let id = there.unwrap_or_else(GroupId::generate);
            let term = terms.get(&row.term);
            if !row.term.is_empty() && term.is_none() {
                let message = format!("no term is called {:?}", row.term);
                plan.problems.push(ImportProblem::new(&row.place, Some("termSourcedIds"), message));
                continue;
            }
            let own = RowKey::Own(row.name.clone());
            if self.groups.get(&own).is_some_and(|other| *other != id) {
                let message = format!("another group is named {:?}", row.name);
                plan.problems.push(ImportProblem::new(&row.place, Some("title"), message));
                continue;
            }
            self.groups.insert(own, id);
            self.groups.insert(external, id);
            self.spoken.insert(id);
            let before = known.groups.iter().find(|(known, ..)| Some(*known) == there);
            // What a file does not say of a term stays.
            let kept = before.and_then(|(_, _, group, _)| group.term);
            let wanted = NewGroup {
                name: row.name.clone(),
                term: term.map(|(id, _)| *id).or(kept),
                external_id: row.external_id.clone(),
            };
            if let Some((_, days)) = term {
                self.begins.insert(id, days.first());
            }
            match before {
                Some((_, _, before, _)) if *before == wanted => {}
                Some((_, version, ..)) => plan.groups.push((id, *version, wanted)),
                None => plan.new_groups.push((id, wanted)),
            }
        }
    }

    /// Groups that only rows of members name.
    fn name_new_groups(&mut self, plan: &mut RosterPlan, rows: &[MemberRow], create: bool) {
        for row in rows.iter().filter(|_| create) {
            if let RowKey::Own(name) = &row.group
                && !self.groups.contains_key(&row.group)
            {
                let id = GroupId::generate();
                self.groups.insert(row.group.clone(), id);
                let group = NewGroup { name: name.clone(), term: None, external_id: String::new() };
                plan.new_groups.push((id, group));
            }
        }
    }

    /// Notes what a row says; whom it is about, unless it is nobody who is known.
    fn take(
        &mut self,
        row: &MemberRow,
        is_bundle: bool,
    ) -> Result<Option<(GroupId, StudentId)>, ImportProblem> {
        let Some(group) = self.groups.get(&row.group).copied() else {
            // A class that was deleted, or is of no school of ours.
            if is_bundle && row.is_gone {
                return Ok(None);
            }
            let message = format!("no group is called {:?}", name_of(&row.group));
            return Err(ImportProblem::new(&row.place, Some("group"), message));
        };
        let Some(student) = self.students.get(&row.student).copied() else {
            if row.is_gone {
                return Ok(None);
            }
            let message =
                format!("no student is called {:?}; import the students first", name_of(&row.student));
            return Err(ImportProblem::new(&row.place, Some("number"), message));
        };
        let yesterday = self.today.saturating_sub(1.day());
        let default = self.default_start.or(self.begins.get(&group).copied()).unwrap_or(self.today);
        let stays = self.stays.entry((group, student)).or_default();
        if row.is_gone {
            end(stays, yesterday);
            return Ok(Some((group, student)));
        }
        // The one that the row is about: that which begins on its day, or which is there on one of its days.
        let from = row.from.unwrap_or(default);
        let until = row.until;
        let about = stays
            .iter()
            .position(|stay| Some(stay.from) == row.from)
            .or_else(|| stays.iter().position(|stay| stay.meets(from, until)));
        let from = match (row.from, about) {
            (Some(from), _) => from,
            // Of whom is not said since when, it was said before.
            (None, Some(at)) => stays[at].from,
            (None, None) => from,
        };
        if until.is_some_and(|until| until < from) {
            return Err(ImportProblem::new(&row.place, Some("until"), "is before the first day"));
        }
        let is_other = |at: usize| Some(at) != about;
        if (0..stays.len()).any(|at| is_other(at) && stays[at].meets(from, until)) {
            let message = "would be in the group twice on one day, with what is there or another row says";
            return Err(ImportProblem::new(&row.place, None, message));
        }
        if let Some(earlier) = about.and_then(|at| self.said.get(&(group, student, stays[at].from))) {
            let message = format!("line {} speaks of the same student and group", earlier.line);
            return Err(ImportProblem::new(&row.place, None, message));
        }
        let stay = Stay { before: about.and_then(|at| stays[at].before), from, until };
        match about {
            Some(at) => stays[at] = stay,
            None => stays.push(stay),
        }
        self.said.insert((group, student, from), row.place.clone());
        Ok(Some((group, student)))
    }

    /// Ends the stays of those of whom the file says nothing, in groups of which it speaks.
    fn end_others(&mut self, named: &HashSet<(GroupId, StudentId)>) {
        let yesterday = self.today.saturating_sub(1.day());
        for (pair, stays) in &mut self.stays {
            if self.spoken.contains(&pair.0) && !named.contains(pair) {
                end(stays, yesterday);
            }
        }
    }

    fn finish(self, plan: &mut RosterPlan, known: &KnownRosters) {
        let before: HashMap<(GroupId, StudentId, Date), Option<Date>> = known
            .members
            .iter()
            .map(|(group, student, from, until)| ((*group, *student, *from), *until))
            .collect();
        let mut kept: HashSet<(GroupId, StudentId, Date)> = HashSet::new();
        for ((group, student), stays) in self.stays {
            for stay in stays {
                let is_said = self.said.contains_key(&(group, student, stay.from));
                match stay.before {
                    None => plan.added += 1,
                    Some(from) => {
                        kept.insert((group, student, from));
                        let until = before.get(&(group, student, from)).copied().flatten();
                        if from == stay.from && until == stay.until {
                            plan.unchanged += u64::from(is_said);
                            continue;
                        }
                        if is_said { plan.changed += 1 } else { plan.ended += 1 }
                    }
                }
                plan.members.push((group, student, stay.before, stay.from, stay.until));
            }
        }
        let gone = known.members.iter().map(|(group, student, from, _)| (*group, *student, *from));
        plan.removed = gone.filter(|stay| !kept.contains(stay)).collect();
        plan.ended += plan.removed.len() as u64;
    }
}

/// Ends stays after a day; those that would begin later are no more.
fn end(stays: &mut Vec<Stay>, last: Date) {
    stays.retain(|stay| stay.from <= last);
    for stay in stays.iter_mut().filter(|stay| stay.until.is_none_or(|until| until > last)) {
        stay.until = Some(last);
    }
}

fn name_of(key: &RowKey) -> &str {
    match key {
        RowKey::Own(name) | RowKey::External(name) => name,
    }
}
