//! Galleries that follow one database by numbered changes, as servers do: announcements come late, twice, in
//! any order or never; changes are forgotten; others commit in the middle of everything.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use cavs_gallery::{
    Change, Follower, Gallery, GalleryMode, Options, Query, Step, Template, TemplateId, open,
};
use common::template;
use proptest::prelude::*;

const DIMENSION: usize = 24;
const SERVERS: usize = 2;
/// Changes that are read at a time.
const PAGE: usize = 3;

/// Templates by student and picture: there from now on, or gone.
type Commit = Vec<(u64, u64, bool)>;

#[derive(Debug, Clone)]
enum Event {
    Commit(Commit),
    /// One of the announcements that a server has not heard yet arrives; others commit while it reads.
    Announce {
        server: usize,
        which: prop::sample::Index,
        meanwhile: Vec<Commit>,
    },
    Lose {
        server: usize,
        which: prop::sample::Index,
    },
    /// The oldest changes are forgotten.
    Forget(usize),
    Compact(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let commit = || prop::collection::vec((0..6u64, 0..4u64, any::<bool>()), 1..5);
    let server = || 0..SERVERS;
    let which = any::<prop::sample::Index>;
    prop_oneof![
        6 => commit().prop_map(Event::Commit),
        6 => (server(), which(), prop::collection::vec(commit(), 0..3))
            .prop_map(|(server, which, meanwhile)| Event::Announce { server, which, meanwhile }),
        2 => (server(), which()).prop_map(|(server, which)| Event::Lose { server, which }),
        1 => (1..12usize).prop_map(Event::Forget),
        1 => server().prop_map(Event::Compact),
    ]
}

/// What the tables `templates`, `gallery_changes` and `gallery_clock` hold.
#[derive(Default)]
struct Database {
    templates: BTreeMap<TemplateId, Template>,
    changes: VecDeque<(i64, TemplateId)>,
    latest: i64,
}

impl Database {
    fn commit(&mut self, commit: &Commit) {
        for (student, picture, is_there) in commit {
            let template = template(*student, *picture, DIMENSION);
            self.latest += 1;
            self.changes.push_back((self.latest, template.id));
            match is_there {
                true => drop(self.templates.insert(template.id, template)),
                false => drop(self.templates.remove(&template.id)),
            }
        }
    }

    /// The first changes after a number, each with its template as it is now.
    fn read(&self, after: i64) -> Vec<(i64, TemplateId, Option<Template>)> {
        let after = self.changes.iter().filter(|change| change.0 > after);
        after.take(PAGE).map(|(number, id)| (*number, *id, self.templates.get(id).cloned())).collect()
    }
}

struct Server {
    gallery: Arc<dyn Gallery>,
    follower: Follower,
    unheard: Vec<i64>,
    reloads: usize,
}

impl Server {
    fn start() -> Self {
        let options = Options { crossover: Some(1), ..Options::default() };
        let gallery = open(GalleryMode::Auto, DIMENSION, options).unwrap();
        Self { gallery, follower: Follower::default(), unheard: Vec::new(), reloads: 0 }
    }

    /// As `Recognition::catch_up` of the server does it.
    fn catch_up(&mut self, database: &mut Database, mut meanwhile: Vec<Commit>) {
        loop {
            let read = database.read(self.follower.applied());
            let step = self.follower.step(database.latest, read.iter().map(|change| change.0));
            if step != Step::Done
                && let Some(commit) = meanwhile.pop()
            {
                database.commit(&commit);
            }
            match step {
                Step::Done => return,
                Step::Apply(last) => {
                    let mut change = Change::default();
                    read.into_iter().for_each(|(_, id, template)| change.set(id, template));
                    self.gallery.apply(&change).unwrap();
                    self.follower.advance(last);
                }
                Step::Reload => {
                    let latest = database.latest;
                    // What is committed between the number and the rows is in both.
                    meanwhile.pop().iter().for_each(|commit| database.commit(commit));
                    let insert = database.templates.values().cloned().collect();
                    let fresh = Self::start();
                    fresh.gallery.apply(&Change { insert, ..Change::default() }).unwrap();
                    self.gallery = fresh.gallery;
                    self.follower.advance(latest);
                    self.reloads += 1;
                }
            }
        }
    }

    fn agrees_with(&self, database: &Database) {
        assert_eq!(self.gallery.len(), database.templates.len());
        for template in database.templates.values() {
            let roster = [template.student].into_iter().collect();
            let answer = self.gallery.search(&template.embedding, &Query::top(1).among(&roster)).unwrap();
            assert_eq!(answer.candidates.first().map(|c| c.template), Some(template.id));
        }
    }
}

fn run(events: Vec<Event>) -> usize {
    let mut database = Database::default();
    let mut servers: Vec<Server> = (0..SERVERS).map(|_| Server::start()).collect();
    for event in events {
        let known = database.latest;
        match event {
            Event::Commit(commit) => database.commit(&commit),
            Event::Announce { server, which, meanwhile } => {
                let server = &mut servers[server];
                if !server.unheard.is_empty() {
                    server.unheard.swap_remove(which.index(server.unheard.len()));
                    server.catch_up(&mut database, meanwhile);
                    server.agrees_with(&database);
                }
            }
            Event::Lose { server, which } => {
                let unheard = &mut servers[server].unheard;
                if !unheard.is_empty() {
                    unheard.swap_remove(which.index(unheard.len()));
                }
            }
            Event::Forget(most) => drop(database.changes.drain(..most.min(database.changes.len()))),
            Event::Compact(server) => servers[server].gallery.compact(),
        }
        servers.iter_mut().for_each(|server| server.unheard.extend(known + 1..=database.latest));
    }
    // Servers also ask now and then, so that what was lost is not lost for ever.
    for server in &mut servers {
        server.catch_up(&mut database, Vec::new());
        server.agrees_with(&database);
    }
    servers.iter().map(|server| server.reloads).sum()
}

proptest! {
    #[test]
    fn servers_agree_however_changes_are_announced(events in prop::collection::vec(event(), 1..40)) {
        run(events);
    }
}

#[test]
fn changes_that_are_all_forgotten_are_missed_by_nobody() {
    let enroll = || Event::Commit(vec![(1, 1, true), (2, 1, true)]);
    assert_eq!(run(vec![enroll()]), 0);
    assert_eq!(run(vec![enroll(), Event::Forget(9)]), SERVERS);
}
