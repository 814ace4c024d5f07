//! What follows from a file for the students that there are.

use std::collections::HashMap;

use cavs_types::{StudentField, StudentId};

use super::{ImportFile, ImportOptions, ImportProblem, ImportRow, ImportScope, Place};
use crate::people::{StudentProfile, StudentState};

/// Values that no two students of a site share.
const UNIQUE: [StudentField; 3] = [StudentField::Number, StudentField::Email, StudentField::ExternalId];

/// Changes of students, and why there are no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportPlan {
    /// To be added.
    pub create: Vec<StudentState>,
    /// To be changed; with the versions that they have.
    pub update: Vec<StudentState>,
    /// Students who are so already.
    pub unchanged: u64,
    /// Of those changed: not active any more.
    pub deactivated: u64,
    /// Of those changed: active again.
    pub reactivated: u64,
    /// Active students of whom a whole file says nothing.
    pub missing: u64,
    /// Of those changed: who are recognised from now on, or no more.
    pub rematched: Vec<StudentId>,
    /// In the order of the file.
    pub problems: Vec<ImportProblem>,
    /// Columns that mean nothing here.
    pub ignored_columns: Vec<String>,
}

impl ImportPlan {
    /// Compares a file with the students of the site who are not erased.
    #[must_use]
    pub fn new(students: Vec<StudentState>, file: ImportFile, options: &ImportOptions) -> Self {
        let ImportFile { rows, problems, ignored_columns, scope } = file;
        let mut planning = Planning::new(students);
        let mut plan = Self { problems, ignored_columns, ..Self::default() };
        // Of whom a row speaks that can't be read, nobody knows.
        let deactivate = options.deactivate_missing && plan.problems.is_empty();
        if options.deactivate_missing && !deactivate {
            let message = "nobody is deactivated for being missing, as there are rows that can't be read";
            plan.problems.push(ImportProblem::new(&Place::default(), None, message));
        }
        for row in rows {
            if let Err(mut found) = planning.take(&row) {
                plan.problems.append(&mut found);
            }
        }
        plan.problems.sort_by(|a, b| a.place.cmp(&b.place));
        planning.finish(&mut plan, scope, deactivate);
        plan
    }

    /// Whether it may be done.
    #[must_use]
    pub const fn is_wanted(&self, options: &ImportOptions) -> bool {
        !options.dry_run && (options.skip_bad_rows || self.problems.is_empty())
    }
}

struct Planning {
    /// As they were, and behind them those who are new.
    before: Vec<StudentState>,
    known: usize,
    /// As they are to be.
    after: Vec<StudentState>,
    /// Where the file speaks of each.
    said: Vec<Option<Place>>,
    /// Who has a value, or had it: two students never change values within one file.
    holders: HashMap<(usize, String), usize>,
}

impl Planning {
    fn new(students: Vec<StudentState>) -> Self {
        let known = students.len();
        let mut planning = Self {
            after: students.clone(),
            said: vec![None; known],
            before: students,
            known,
            holders: HashMap::with_capacity(2 * known),
        };
        for index in 0..known {
            planning.hold(index);
        }
        planning
    }

    fn hold(&mut self, index: usize) {
        for (kind, value) in unique_values(&self.after[index].profile) {
            self.holders.entry((kind, value)).or_insert(index);
        }
    }

    fn holder(&self, kind: StudentField, typed: Option<&String>) -> Option<usize> {
        let mut asked = StudentProfile::default();
        asked.set(kind, typed?).ok()?;
        let value = unique_values(&asked).next()?;
        self.holders.get(&value).copied()
    }

    /// Notes what a row says.
    fn take(&mut self, row: &ImportRow) -> Result<(), Vec<ImportProblem>> {
        let said = |field| row.fields.iter().find(|(named, _)| *named == field).map(|(_, text)| text);
        // The other system's name for a student outlives a change of the number.
        let external = self.holder(StudentField::ExternalId, said(StudentField::ExternalId));
        if row.only_known && external.is_none() {
            return Ok(());
        }
        let found = external.or_else(|| self.holder(StudentField::Number, said(StudentField::Number)));
        if let Some(earlier) = found.and_then(|index| self.said[index].as_ref()) {
            let message = format!("line {} speaks of the same student", earlier.line);
            return Err(vec![ImportProblem::new(&row.place, None, message)]);
        }
        let mut state = match found {
            Some(index) => self.after[index].clone(),
            None => StudentState::new(StudentProfile::default()),
        };
        let mut problems = Vec::new();
        for (field, typed) in &row.fields {
            if let Err(problem) = state.profile.set(*field, typed) {
                problems.push(ImportProblem::of(&row.place, &problem));
            }
        }
        if problems.is_empty()
            && let Err(problem) = state.profile.clone().complete()
        {
            problems.push(ImportProblem::of(&row.place, &problem));
        }
        for (kind, value) in unique_values(&state.profile) {
            if let Some(other) =
                self.holders.get(&(kind, value)).copied().filter(|other| Some(*other) != found)
            {
                let number = &self.after[other].profile.number;
                let message = match &self.said[other] {
                    Some(earlier) => format!("is that of student {number:?} on line {}, too", earlier.line),
                    None => format!("is that of student {number:?}"),
                };
                problems.push(ImportProblem::new(&row.place, Some(UNIQUE[kind].as_str()), message));
            }
        }
        if let (Some(index), Some(asked)) = (found, said(StudentField::ExternalId)) {
            let before = &self.before[index].profile.external_id;
            if !before.is_empty() && !asked.is_empty() && *before != state.profile.external_id {
                let message = format!("the student of this number has the external id {before:?}");
                problems.push(ImportProblem::new(
                    &row.place,
                    Some(StudentField::ExternalId.as_str()),
                    message,
                ));
            }
        }
        if !problems.is_empty() {
            // Nobody is missing for a row that can't be used.
            if let Some(index) = found {
                self.said[index] = Some(row.place.clone());
            }
            return Err(problems);
        }
        state.is_active = row.active.unwrap_or(state.is_active);
        let index = match found {
            Some(index) => index,
            None => {
                self.before.push(state.clone());
                self.after.push(state.clone());
                self.said.push(None);
                self.after.len() - 1
            }
        };
        self.after[index] = state;
        self.said[index] = Some(row.place.clone());
        self.hold(index);
        Ok(())
    }

    fn finish(mut self, plan: &mut ImportPlan, scope: ImportScope, deactivate: bool) {
        plan.create = self.after.split_off(self.known);
        // Who has left before they came is nobody to be added.
        plan.create.retain(|student| student.is_active);
        for ((mut after, before), said) in self.after.into_iter().zip(self.before).zip(self.said) {
            let expected = match scope {
                ImportScope::All => true,
                ImportScope::External => !after.profile.external_id.is_empty(),
                ImportScope::Changes => false,
            };
            if said.is_none() && expected && after.is_active {
                plan.missing += 1;
                after.is_active = !deactivate;
            }
            match (before.is_active, after.is_active) {
                (true, false) => plan.deactivated += 1,
                (false, true) => plan.reactivated += 1,
                _ => {}
            }
            if before.is_matched() != after.is_matched() {
                plan.rematched.push(after.id);
            }
            if after != before {
                plan.update.push(after);
            } else if said.is_some() {
                plan.unchanged += 1;
            }
        }
    }
}

/// The values of a profile that no other student has, each with its place in [`UNIQUE`].
fn unique_values(profile: &StudentProfile) -> impl Iterator<Item = (usize, String)> {
    let values = [profile.number.clone(), profile.email_key(), profile.external_id.clone()];
    values.into_iter().enumerate().filter(|(_, value)| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use cavs_types::ImportFormat;
    use proptest::prelude::*;

    use super::*;
    use crate::people::StudentVersion;

    fn student(number: &str, email: &str, external_id: &str) -> StudentState {
        let fields = [
            (StudentField::Number, number),
            (StudentField::Name, "Ada"),
            (StudentField::Email, email),
            (StudentField::ExternalId, external_id),
        ];
        StudentState { version: StudentVersion(3), ..StudentState::new(StudentProfile::of(&fields).unwrap()) }
    }

    fn options() -> ImportOptions {
        ImportOptions::new(ImportFormat::Csv, "", "").unwrap()
    }

    fn plan(students: &[StudentState], csv: &str, options: &ImportOptions) -> ImportPlan {
        let file = ImportFile::read(csv.as_bytes(), options).unwrap();
        ImportPlan::new(students.to_vec(), file, options)
    }

    fn problems(plan: &ImportPlan) -> Vec<String> {
        plan.problems
            .iter()
            .map(|p| format!("{}: {}: {}", p.place.line, p.field.unwrap_or("-"), p.message))
            .collect()
    }

    #[test]
    fn a_file_adds_changes_and_leaves_alone() {
        let students = [student("1", "a@b", ""), student("2", "", ""), student("3", "", "")];
        let plan = plan(&students, "number,name,email\n1,Ada,A@b\n2,Bob,\n004,Cid,c@d\n", &options());
        assert_eq!(problems(&plan), [""; 0]);
        assert_eq!((plan.create.len(), plan.update.len(), plan.unchanged, plan.missing), (1, 2, 0, 1));
        assert_eq!(plan.create[0].profile.number, "004");
        assert_eq!(
            (plan.update[1].profile.name.as_str(), plan.update[1].version),
            ("Bob", StudentVersion(3))
        );
        assert_eq!(plan.deactivated, 0);
    }

    #[test]
    fn who_is_missing_becomes_inactive_where_that_is_asked_for() {
        let mut students = [student("1", "", ""), student("2", "", ""), student("3", "", "")];
        students[0].is_active = false;
        let asked = ImportOptions { deactivate_missing: true, ..options() };
        let found = plan(&students, "number,name,active\n1,Ada,yes\n2,,\n", &asked);
        // A row that can't be used speaks of its student all the same.
        assert_eq!(problems(&found), ["3: name: is required"]);
        assert_eq!((found.missing, found.deactivated, found.reactivated), (1, 1, 1));
        assert!(!found.is_wanted(&asked));
        assert!(found.is_wanted(&ImportOptions { skip_bad_rows: true, ..asked }));
        assert!(
            !plan(&students, "number,name\n1,Ada\n", &asked)
                .is_wanted(&ImportOptions { dry_run: true, ..asked.clone() })
        );
        assert_eq!(plan(&students, "number,name,active\n9,New,no\n", &options()).create, []);
    }

    #[test]
    fn nobody_is_missing_for_a_row_that_can_not_be_read() {
        let students = [student("1", "", ""), student("2", "", "")];
        let asked = ImportOptions { deactivate_missing: true, skip_bad_rows: true, ..options() };
        let found = plan(&students, "number,name,active\n1,Ada,yes\n2,Lovelace, Ada,yes\n", &asked);
        assert_eq!((found.missing, found.deactivated, found.problems.len()), (1, 0, 2));
        assert!(problems(&found)[0].starts_with("0: -: nobody is deactivated"), "{:?}", found.problems);
    }

    #[test]
    fn values_of_others_are_refused_with_their_lines() {
        let students = [student("1", "a@b", "x-1"), student("2", "", "")];
        let text = "number,name,email,external_id\n2,Bob,A@B,\n3,Cid,c@d,x-1\n4,Dan,c@D,\n5,Eve,e@f,\n5,Eve,,\n1,Ada,,y\n";
        let found = plan(&students, text, &options());
        assert_eq!(
            problems(&found),
            [
                "2: email: is that of student \"1\"",
                "4: email: is that of student \"3\" on line 3, too",
                "6: -: line 5 speaks of the same student",
                "7: -: line 3 speaks of the same student",
            ]
        );
        // The other system's name is the student's: the number has changed.
        assert_eq!(found.update[0].profile.number, "3");
        let found = plan(&students, "number,name,external_id\n1,Ada,y\n", &options());
        assert_eq!(
            problems(&found),
            ["2: external_id: the student of this number has the external id \"x-1\""]
        );
    }

    proptest! {
        /// Whatever a file says, no two students share what no two may share, and nobody is both added and changed.
        #[test]
        fn plans_keep_values_unique(
            before in prop::collection::vec((0_u8..6, 0_u8..4, 0_u8..4), 0..6),
            rows in prop::collection::vec((0_u8..8, 0_u8..5, 0_u8..5, prop::option::of(any::<bool>())), 0..12),
        ) {
            let text = |kind: &str, value: u8| if value == 0 { String::new() } else { format!("{kind}@{value}") };
            let mut students: Vec<StudentState> = Vec::new();
            for (number, email, external) in before {
                let new = student(&number.to_string(), &text("e", email), &text("x", external));
                let taken = |s: &StudentState| unique_values(&s.profile).any(|value| unique_values(&new.profile).any(|other| other == value));
                if !students.iter().any(taken) {
                    students.push(new);
                }
            }
            let mut csv = "number,name,email,external_id,active\n".to_owned();
            for (number, email, external, active) in rows {
                let active = active.map(|active| active.to_string()).unwrap_or_default();
                csv += &format!("{number},N,{},{},{active}\n", text("E", email), text("x", external));
            }
            let plan = plan(&students, &csv, &ImportOptions { deactivate_missing: true, ..options() });
            let mut after = students.clone();
            for changed in &plan.update {
                let place = after.iter().position(|s| s.id == changed.id).unwrap();
                prop_assert_ne!(&after[place], changed);
                after[place] = changed.clone();
            }
            after.extend(plan.create.iter().cloned());
            let mut seen = std::collections::HashSet::new();
            for value in after.iter().flat_map(|s| unique_values(&s.profile)) {
                prop_assert!(seen.insert(value));
            }
            // What was done is there: the same file changes nothing more.
            let again = super::ImportPlan::new(after, ImportFile::read(csv.as_bytes(), &options()).unwrap(), &options());
            if plan.problems.is_empty() {
                prop_assert_eq!((again.create.len(), again.update.len(), again.problems.len()), (0, 0, 0));
            }
        }
    }
}
