//! The last message of each topic, for those who subscribe later; bounded in number and bytes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::message::Message;
use crate::topic;

/// Bounds of the retained store.
#[derive(Debug, Clone, Copy)]
pub struct RetainedLimits {
    /// Most retained messages in all.
    pub messages_max: usize,
    /// Most bytes in all, counted by [`Message::cost_bytes`].
    pub bytes_max: usize,
    /// Most retained messages one publisher may hold, so that one device cannot use up the store.
    pub messages_per_publisher_max: usize,
    /// Most retained messages that the clients without certificate of one listener may hold together: one cannot be told from
    /// the other.
    pub messages_anonymous_max: usize,
}

/// Retained messages by topic.
#[derive(Debug)]
pub(crate) struct Retained {
    limits: RetainedLimits,
    by_topic: BTreeMap<Arc<str>, (Arc<str>, Message)>,
    by_publisher: HashMap<Arc<str>, usize>,
    bytes: usize,
}

impl Retained {
    /// An empty store with these bounds.
    pub(crate) fn new(limits: RetainedLimits) -> Self {
        Self {
            limits,
            by_topic: BTreeMap::new(),
            by_publisher: HashMap::new(),
            bytes: 0,
        }
    }

    /// Keeps `message` as the last one of its topic; an empty payload clears the topic (MQTT 5 §3.3.1.3).
    /// False if a bound is reached: the earlier message, if any, then stays. `publisher_max`: the bound of this publisher.
    pub(crate) fn set(
        &mut self,
        publisher: &Arc<str>,
        publisher_max: usize,
        message: Message,
    ) -> bool {
        let replaced_bytes = self
            .by_topic
            .get(&message.topic)
            .map(|(_, earlier)| earlier.cost_bytes());
        if message.payload.is_empty() {
            self.remove(&message.topic);
            return true;
        }
        if self.bytes - replaced_bytes.unwrap_or(0) + message.cost_bytes() > self.limits.bytes_max {
            return false;
        }
        if replaced_bytes.is_none()
            && (self.by_topic.len() >= self.limits.messages_max
                || self.by_publisher.get(publisher).copied().unwrap_or(0) >= publisher_max)
        {
            return false;
        }
        self.remove(&message.topic);
        self.bytes += message.cost_bytes();
        *self.by_publisher.entry(publisher.clone()).or_default() += 1;
        self.by_topic
            .insert(message.topic.clone(), (publisher.clone(), message));
        true
    }

    /// The retained messages that `filter` matches, in topic order.
    pub(crate) fn matching<'a>(
        &'a self,
        filter: &'a str,
        now: Duration,
    ) -> impl Iterator<Item = &'a Message> {
        let prefix = topic::literal_prefix(filter);
        self.by_topic
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .filter(move |(name, (_, message))| {
                topic::matches(filter, name) && !message.is_expired(now)
            })
            .map(|(_, (_, message))| message)
    }

    /// Forgets messages whose expiry has passed.
    pub(crate) fn sweep(&mut self, now: Duration) {
        let expired: Vec<_> = self
            .by_topic
            .values()
            .filter(|(_, message)| message.is_expired(now))
            .map(|(_, message)| message.topic.clone())
            .collect();
        for name in expired {
            self.remove(&name);
        }
    }

    /// True if nothing is retained.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    fn remove(&mut self, name: &str) {
        let Some((publisher, message)) = self.by_topic.remove(name) else {
            return;
        };
        self.bytes -= message.cost_bytes();
        if let Some(count) = self.by_publisher.get_mut(&publisher) {
            *count -= 1;
            if *count == 0 {
                self.by_publisher.remove(&publisher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_protocol_core::mqtt::IntoPayload;
    use mqtt_protocol_core::mqtt::packet::Qos;

    fn message(topic: &str, payload: &str) -> Message {
        Message {
            topic: topic.into(),
            payload: payload.into_payload(),
            qos: Qos::AtMostOnce,
            retain: true,
            properties: Arc::from([]),
            expires_at: None,
        }
    }

    fn store(messages_max: usize, per_publisher: usize) -> Retained {
        Retained::new(RetainedLimits {
            messages_max,
            bytes_max: 10_000,
            messages_per_publisher_max: per_publisher,
            messages_anonymous_max: per_publisher,
        })
    }

    #[test]
    fn the_last_message_stays_and_an_empty_one_clears() {
        let me: Arc<str> = "dev".into();
        let mut store = store(10, 10);
        assert!(store.set(&me, 10, message("dev/a", "1")));
        assert!(store.set(&me, 10, message("dev/a", "2")));
        let texts: Vec<_> = store
            .matching("dev/#", Duration::ZERO)
            .map(|m| m.payload.as_slice().to_vec())
            .collect();
        assert_eq!(texts, [b"2".to_vec()]);
        assert!(store.set(&me, 10, message("dev/a", "")));
        assert!(store.is_empty());
        assert_eq!(store.bytes, 0);
        assert!(store.by_publisher.is_empty());
    }

    #[test]
    fn one_publisher_cannot_use_up_the_store() {
        let (greedy, modest): (Arc<str>, Arc<str>) = ("greedy".into(), "modest".into());
        let mut store = store(10, 2);
        assert!(store.set(&greedy, 2, message("greedy/1", "x")));
        assert!(store.set(&greedy, 2, message("greedy/2", "x")));
        assert!(!store.set(&greedy, 2, message("greedy/3", "x")));
        assert!(store.set(&greedy, 2, message("greedy/2", "replaced")));
        assert!(store.set(&modest, 2, message("modest/1", "x")));
    }

    #[test]
    fn a_filter_finds_neighbours_with_a_common_prefix_only_when_it_matches() {
        let me: Arc<str> = "dev".into();
        let mut store = store(10, 10);
        for topic in ["a", "a/b", "ab", "a/b/c"] {
            assert!(store.set(&me, 10, message(topic, "x")));
        }
        let topics: Vec<_> = store
            .matching("a/#", Duration::ZERO)
            .map(|m| m.topic.to_string())
            .collect();
        assert_eq!(topics, ["a", "a/b", "a/b/c"]);
    }
}
