//! How many requests a release may take, and how many it took.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::bench::requests::{Class, requests};
use crate::harness::Outcome;
use crate::harness::cluster::Cluster;
use crate::harness::verdict::Expectation;

/// Each class that has a mark, its name, and how many one release of three steps may have of it.
const MARKS: [(Class, &str, usize); 9] = [
    (Class::Status, "status", 8),
    (Class::Route, "routes", 4),
    (Class::Scale, "scale", 2),
    (Class::Template, "template", 1),
    (Class::Revision, "revisions", 2),
    (Class::Event, "events", 11),
    (Class::OtherWrite, "other writes", 0),
    (Class::Read, "reads", 0),
    (Class::DryRun, "dry runs, counted apart", 4),
];

/// How many all of them may be together.
const ALL: usize = 28;

/// How often what was asked. What was refused counts too: it was asked.
pub struct Count(BTreeMap<(Class, String), usize>);

impl Count {
    /// What the controller of the chart's service account asked between two moments.
    pub fn read(cluster: &Cluster, from: DateTime<Utc>, until: DateTime<Utc>) -> Outcome<Self> {
        let mut counted = BTreeMap::new();
        for request in requests(cluster, from, until)? {
            *counted.entry((request.class(), request.words())).or_insert(0) += 1;
        }
        Ok(Self(counted))
    }

    /// How many are of the classes that are asked for.
    pub fn of(&self, wanted: impl Fn(Class) -> bool) -> usize {
        let some = self.0.iter().filter(|((class, _), _)| wanted(*class));
        some.map(|(_, count)| count).sum()
    }

    /// All but what goes on at rest as well, and dry runs.
    fn all(&self) -> usize {
        self.of(|class| !matches!(class, Class::Lease | Class::Watch | Class::DryRun))
    }

    /// A table for one release, with the marks.
    pub fn beside_marks(&self) -> String {
        let mut table = "| | seen | mark: at most |\n| --- | --: | --: |\n".to_owned();
        for (class, name, mark) in MARKS {
            let seen = self.of(|each| each == class);
            // Writing to a string cannot fail.
            let _ = writeln!(table, "| {name} | {seen} | {mark} |");
        }
        let _ = writeln!(
            table,
            "| **all but lease, watches, dry runs** | **{}** | **{ALL}** |",
            self.all()
        );
        let _ = writeln!(
            table,
            "\nFlagger 1.44: 134, of which 22 are writes.\n\n{}",
            self.listed()
        );
        table
    }

    /// Whether one release kept to the marks.
    pub fn judged(&self) -> Vec<Expectation> {
        let one = MARKS.map(|(class, name, mark)| (name, self.of(|each| each == class), mark));
        let kept = one.into_iter().map(|(name, seen, mark)| {
            let text = format!("A release alone takes at most {mark} requests for: {name} ({seen})");
            Expectation::new(text, seen <= mark)
        });
        let all = self.all();
        let together = Expectation::new(
            format!("A release alone takes requests, at most {ALL} in all ({all})"),
            (1..=ALL).contains(&all),
        );
        kept.chain([together]).collect()
    }

    /// Verbs and resources.
    pub fn listed(&self) -> String {
        let mut table = "| request | for | times |\n| --- | --- | --: |\n".to_owned();
        for ((class, words), count) in &self.0 {
            let _ = writeln!(table, "| {words} | {class:?} | {count} |");
        }
        table
    }
}
