//! Who listens to a subject, found without looking at everybody.
//!
//! Subjects without a wildcard are one look-up. Wildcard subscriptions are filed under their text, and the shapes in
//! use (how many tokens, which of them are `*`) are listed: putting stars into a subject at a shape's places gives
//! the one text that can match, so a message costs one look-up per shape, of which there are a handful, and not one
//! per subscription.

use std::collections::HashMap;

use super::super::Feed;

#[derive(Debug, Default)]
pub(super) struct Index {
    listeners: HashMap<Box<str>, Vec<Listener>>,
    shapes: Vec<(Shape, Count)>,
    last_id: u64,
}

#[derive(Debug)]
struct Listener {
    id: u64,
    feed: Feed,
}

/// How many texts of a shape are in `listeners`.
type Count = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    tokens: u32,
    /// Bit `n` is set if token `n` is a star; subjects have no more tokens than a `u64` has bits.
    stars: u64,
}

impl Index {
    /// Files a checked pattern; the number returned removes it again.
    pub(super) fn insert(&mut self, pattern: &str, feed: Feed) -> u64 {
        self.last_id += 1;
        let listener = Listener { id: self.last_id, feed };
        match self.listeners.get_mut(pattern) {
            Some(listeners) => listeners.push(listener),
            None => {
                self.listeners.insert(pattern.into(), vec![listener]);
                self.count_shape(Shape::of(pattern));
            }
        }
        self.last_id
    }

    pub(super) fn remove(&mut self, pattern: &str, id: u64) {
        let Some(listeners) = self.listeners.get_mut(pattern) else { return };
        listeners.retain(|listener| listener.id != id);
        if listeners.is_empty() {
            self.listeners.remove(pattern);
            self.uncount_shape(Shape::of(pattern));
        }
    }

    /// Visits everybody who listens to a literal subject.
    pub(super) fn for_each(&self, subject: &str, mut visit: impl FnMut(&Feed)) {
        let mut visit_text = |text: &str| {
            for listener in self.listeners.get(text).into_iter().flatten() {
                visit(&listener.feed);
            }
        };
        visit_text(subject);
        if self.shapes.is_empty() {
            return;
        }
        let tokens = Shape::of(subject).tokens;
        let mut text = String::with_capacity(subject.len());
        for (shape, _) in self.shapes.iter().filter(|(shape, _)| shape.tokens == tokens) {
            shape.write(subject, &mut text);
            visit_text(&text);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.shapes.is_empty()
    }

    fn count_shape(&mut self, shape: Shape) {
        if shape.stars == 0 {
            return;
        }
        match self.shapes.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, count)) => *count += 1,
            None => self.shapes.push((shape, 1)),
        }
    }

    fn uncount_shape(&mut self, shape: Shape) {
        if let Some(at) = self.shapes.iter().position(|(known, _)| *known == shape) {
            self.shapes[at].1 -= 1;
            if self.shapes[at].1 == 0 {
                self.shapes.swap_remove(at);
            }
        }
    }
}

impl Shape {
    fn of(subject: &str) -> Self {
        subject.split('.').fold(Self { tokens: 0, stars: 0 }, |shape, token| Self {
            tokens: shape.tokens + 1,
            stars: shape.stars | u64::from(token == "*") << shape.tokens,
        })
    }

    /// Writes `subject` with stars at this shape's places over `text`.
    fn write(self, subject: &str, text: &mut String) {
        text.clear();
        for (place, token) in subject.split('.').enumerate() {
            if place > 0 {
                text.push('.');
            }
            text.push_str(if self.stars >> place & 1 == 1 { "*" } else { token });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Message, Subscription};
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn matches(pattern: &str, subject: &str) -> bool {
        let (pattern, subject): (Vec<_>, Vec<_>) =
            (pattern.split('.').collect(), subject.split('.').collect());
        pattern.len() == subject.len() && pattern.iter().zip(&subject).all(|(p, s)| *p == "*" || p == s)
    }

    fn tokens(alphabet: &'static str) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(alphabet.split(' ').collect::<Vec<_>>()), 1..5)
            .prop_map(|tokens| tokens.join("."))
    }

    fn message() -> Message {
        Message { subject: "x".into(), reply: None, payload: Bytes::new(), no_responders: false }
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            patterns in prop::collection::vec((tokens("a b *"), any::<bool>()), 0..30),
            subjects in prop::collection::vec(tokens("a b c"), 1..10),
        ) {
            let mut index = Index::default();
            let mut held = Vec::new();
            for (pattern, _) in &patterns {
                let mut id = 0;
                let subscription = Subscription::new(1000, |feed| {
                    id = index.insert(pattern, feed);
                    Box::new(())
                });
                held.push((id, subscription));
            }
            for ((pattern, stays), (id, _)) in patterns.iter().zip(&held) {
                if !stays {
                    index.remove(pattern, *id);
                }
            }
            for subject in &subjects {
                index.for_each(subject, |feed| { feed.push(message()); });
                for ((pattern, stays), (_, subscription)) in patterns.iter().zip(&mut held) {
                    let expected = *stays && matches(pattern, subject);
                    prop_assert_eq!(subscription.try_next().is_some(), expected, "{} {}", pattern, subject);
                    prop_assert!(subscription.try_next().is_none(), "twice");
                }
            }
            for ((pattern, stays), (id, _)) in patterns.iter().zip(&held) {
                if *stays {
                    index.remove(pattern, *id);
                }
            }
            prop_assert!(index.is_empty());
        }
    }
}
