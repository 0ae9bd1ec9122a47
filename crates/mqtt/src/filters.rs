//! The topic tree: which subscribers a topic reaches, without asking each of them.

use std::collections::HashMap;
use std::hash::Hash;

/// Subscriptions by filter. Matching costs the depth of the topic, not the number of subscribers elsewhere.
#[derive(Debug)]
pub(crate) struct Filters<K, V> {
    root: Node<K, V>,
}

#[derive(Debug)]
struct Node<K, V> {
    /// Subscribers whose filter ends at this level.
    here: HashMap<K, V>,
    /// Subscribers whose filter ends with `#` below this level.
    all_below: HashMap<K, V>,
    any: Option<Box<Node<K, V>>>,
    named: HashMap<Box<str>, Node<K, V>>,
}

impl<K: Eq + Hash + Copy, V: Copy> Filters<K, V> {
    /// An empty tree.
    pub(crate) fn new() -> Self {
        Self { root: Node::new() }
    }

    /// Adds or replaces the subscription of `key` to `filter`; returns the earlier one.
    pub(crate) fn insert(&mut self, filter: &str, key: K, value: V) -> Option<V> {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            node = match level {
                "#" => return node.all_below.insert(key, value),
                "+" => node.any.get_or_insert_with(|| Box::new(Node::new())),
                name => node.named.entry(name.into()).or_insert_with(Node::new),
            };
        }
        node.here.insert(key, value)
    }

    /// Removes the subscription of `key` to `filter` and every branch that is empty afterwards.
    pub(crate) fn remove(&mut self, filter: &str, key: K) -> Option<V> {
        let levels: Vec<&str> = filter.split('/').collect();
        self.root.remove(&levels, key)
    }

    /// Calls `found` for each subscription that `topic` reaches; a key with two matching filters is reported twice.
    pub(crate) fn for_each_match(&self, topic: &str, mut found: impl FnMut(K, V)) {
        let levels: Vec<&str> = topic.split('/').collect();
        self.root.visit(&levels, topic.starts_with('$'), &mut found);
    }

    /// True if nobody subscribes to anything.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl<K: Eq + Hash + Copy, V: Copy> Default for Filters<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq + Hash + Copy, V: Copy> Node<K, V> {
    fn new() -> Self {
        Self {
            here: HashMap::new(),
            all_below: HashMap::new(),
            any: None,
            named: HashMap::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.here.is_empty()
            && self.all_below.is_empty()
            && self.any.is_none()
            && self.named.is_empty()
    }

    fn remove(&mut self, levels: &[&str], key: K) -> Option<V> {
        let Some((level, rest)) = levels.split_first() else {
            return self.here.remove(&key);
        };
        match *level {
            "#" => self.all_below.remove(&key),
            "+" => {
                let node = self.any.as_mut()?;
                let removed = node.remove(rest, key);
                if node.is_empty() {
                    self.any = None;
                }
                removed
            }
            name => {
                let node = self.named.get_mut(name)?;
                let removed = node.remove(rest, key);
                if node.is_empty() {
                    self.named.remove(name);
                }
                removed
            }
        }
    }

    /// `reserved`: the topic starts with `$`, so wildcards at the first level stay silent.
    fn visit(&self, levels: &[&str], reserved: bool, found: &mut impl FnMut(K, V)) {
        if !reserved {
            for (key, value) in &self.all_below {
                found(*key, *value);
            }
        }
        let Some((level, rest)) = levels.split_first() else {
            for (key, value) in &self.here {
                found(*key, *value);
            }
            return;
        };
        if let Some(node) = self.named.get(*level) {
            node.visit(rest, false, found);
        }
        if let (Some(node), false) = (&self.any, reserved) {
            node.visit(rest, false, found);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::topic;
    use std::collections::BTreeSet;

    const FILTERS: &[&str] = &[
        "a", "a/b", "a/+", "a/#", "+/b", "#", "+", "+/+", "/a", "+/#", "$S/#", "$S/+", "a//b",
        "a/+/b",
    ];
    const TOPICS: &[&str] = &[
        "a", "a/b", "a/b/c", "/a", "b", "$S", "$S/x", "a//b", "a/", "/", "a/x/b",
    ];

    #[test]
    fn the_tree_agrees_with_the_plain_matcher() {
        let mut tree = Filters::new();
        for (number, filter) in FILTERS.iter().enumerate() {
            tree.insert(filter, number, ());
        }
        for topic in TOPICS {
            let mut found = BTreeSet::new();
            tree.for_each_match(topic, |key, ()| {
                assert!(found.insert(key), "{topic} reached filter {key} twice");
            });
            let expected: BTreeSet<_> = FILTERS
                .iter()
                .enumerate()
                .filter(|(_, filter)| topic::matches(filter, topic))
                .map(|(number, _)| number)
                .collect();
            assert_eq!(found, expected, "{topic}");
        }
    }

    #[test]
    fn removing_every_filter_leaves_an_empty_tree() {
        let mut tree = Filters::new();
        for filter in FILTERS {
            tree.insert(filter, 7, *filter);
        }
        for filter in FILTERS {
            assert_eq!(tree.remove(filter, 7), Some(*filter));
            assert_eq!(tree.remove(filter, 7), None);
        }
        assert!(tree.is_empty());
    }
}
