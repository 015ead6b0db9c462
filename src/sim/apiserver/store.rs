//! The objects themselves: tables of JSON, one revision counter, and the log of changes that watches replay.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::Value;

/// How many changes the log keeps before the oldest are compacted, like the window of a real watch cache.
const LOG_LENGTH: usize = 20_000;

/// The place of an object in its table; the order is that of lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Empty for cluster-wide kinds.
    pub(super) namespace: String,
    pub(super) name: String,
}

/// One committed write.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) storage: Arc<str>,
    pub(super) key: Key,
    pub(super) before: Option<Arc<Value>>,
    pub(super) after: Option<Arc<Value>>,
}

/// The log no longer reaches back to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compacted {
    /// The oldest revision that can still be read.
    pub(super) oldest: u64,
}

type Table = BTreeMap<Key, Arc<Value>>;

/// All objects of the cluster.
pub(super) struct Store {
    tables: BTreeMap<Arc<str>, Table>,
    revision: u64,
    log: VecDeque<Arc<Change>>,
    compacted: u64,
}

impl Key {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            tables: BTreeMap::new(),
            revision: 1,
            log: VecDeque::new(),
            compacted: 0,
        }
    }

    /// The revision of the last write.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn get(&self, storage: &str, key: &Key) -> Option<&Arc<Value>> {
        self.tables.get(storage)?.get(key)
    }

    /// The objects of a table in list order; an empty namespace means all.
    pub(super) fn list<'a>(
        &'a self,
        storage: &str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + use<'a> {
        self.tables
            .get(storage)
            .into_iter()
            .flatten()
            .filter(move |(key, _)| namespace.is_empty() || key.namespace == namespace)
    }

    /// Every object of every table.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Key, &Arc<Value>)> {
        self.tables
            .iter()
            .flat_map(|(storage, table)| table.iter().map(move |(key, object)| (storage, key, object)))
    }

    /// Puts an object, or removes it, as one revision.
    pub(super) fn put(&mut self, storage: &Arc<str>, key: Key, after: Option<Value>) -> Arc<Change> {
        self.revision += 1;
        let table = self.tables.entry(storage.clone()).or_default();
        let after = after.map(|mut object| {
            object["metadata"]["resourceVersion"] = self.revision.to_string().into();
            Arc::new(object)
        });
        let before = match &after {
            Some(object) => table.insert(key.clone(), object.clone()),
            None => table.remove(&key),
        };
        let change = Arc::new(Change {
            revision: self.revision,
            storage: storage.clone(),
            key,
            before,
            after,
        });
        self.log.push_back(change.clone());
        while self.log.len() > LOG_LENGTH {
            if let Some(oldest) = self.log.pop_front() {
                self.compacted = oldest.revision;
            }
        }
        change
    }

    /// The changes after a revision.
    pub(super) fn since(&self, revision: u64) -> Result<impl Iterator<Item = &Arc<Change>>, Compacted> {
        self.check(revision)?;
        let from = self.log.partition_point(|change| change.revision <= revision);
        Ok(self.log.iter().skip(from))
    }

    /// A table as it was at a revision.
    pub(super) fn at(&self, storage: &str, revision: u64) -> Result<Table, Compacted> {
        self.check(revision)?;
        let mut table = self.tables.get(storage).cloned().unwrap_or_default();
        for change in self.log.iter().rev().take_while(|change| change.revision > revision) {
            if *change.storage == *storage {
                match &change.before {
                    Some(object) => table.insert(change.key.clone(), object.clone()),
                    None => table.remove(&change.key),
                };
            }
        }
        Ok(table)
    }

    /// Forgets the log, so that every older revision answers 410 from now on.
    pub(super) fn compact(&mut self) {
        self.log.clear();
        self.compacted = self.revision;
    }

    fn check(&self, revision: u64) -> Result<(), Compacted> {
        if revision < self.compacted {
            Err(Compacted { oldest: self.compacted })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(table: &Table) -> Vec<&str> {
        table.keys().map(|key| key.name.as_str()).collect()
    }

    #[test]
    fn a_table_can_be_read_as_it_was() {
        let (mut store, pods) = (Store::new(), Arc::<str>::from("pods"));
        store.put(&pods, Key::new("a", "one"), Some(json!({"metadata": {}})));
        let then = store
            .put(&pods, Key::new("a", "two"), Some(json!({"metadata": {}})))
            .revision;
        store.put(&pods, Key::new("a", "one"), None);
        store.put(&pods, Key::new("a", "three"), Some(json!({"metadata": {}})));
        assert_eq!(names(&store.at("pods", then).unwrap()), ["one", "two"]);
        assert_eq!(store.since(then).unwrap().count(), 2);
    }

    #[test]
    fn a_compacted_revision_is_refused() {
        let (mut store, pods) = (Store::new(), Arc::<str>::from("pods"));
        let old = store
            .put(&pods, Key::new("a", "one"), Some(json!({"metadata": {}})))
            .revision;
        let new = store
            .put(&pods, Key::new("a", "two"), Some(json!({"metadata": {}})))
            .revision;
        store.compact();
        assert_eq!(store.at("pods", old).unwrap_err(), Compacted { oldest: new });
        assert!(store.since(new).is_ok());
    }
}
