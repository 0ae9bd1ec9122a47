//! Requests of sessions, on their way to the use cases and back.
//!
//! ```text
//!   request ─► read ─► a place ─► app (a task) ─► answer ─► what the session may from then on
//!                └─ refused       └─ busy, later
//! ```

use super::Listener;
use super::answers::{self, Answer};
use sectag_coap::{Exchange, Response};
use std::net::SocketAddr;

impl Listener {
    /// Nobody knows who is behind this session (any more).
    pub(super) fn is_new(&mut self, session: u64, peer: SocketAddr) {
        self.server.trust(session, false);
        let uptime = self.now().uptime;
        if let Some(closed) = self.newcomers.arrived(session, peer, uptime) {
            self.leaving.push(closed);
            if closed == session {
                self.app.admission.over_its_share();
            }
        }
    }

    pub(super) fn asked(&mut self, request: sectag_coap::Request) {
        let now = self.app.now();
        let session = request.session;
        let ask = match answers::read(&self.app, request, &self.grants, &self.settings, now) {
            Ok(ask) => ask,
            Err((exchange, response)) => return self.refused(session, exchange, response),
        };
        let place = match self.app.admission.place(ask.is_a_strangers()) {
            Ok(place) => place,
            Err(full) => {
                self.books.busy += 1;
                let (exchange, response) = ask.turned_away(&self.app, full);
                return self.respond(exchange, response);
            }
        };
        self.in_hand += 1;
        let (app, answers) = (self.app.clone(), self.answers.0.clone());
        tokio::spawn(async move {
            let answer = ask.answer(app).await;
            // There is room for each request in hand, and nobody to tell when the listener has ended.
            let _ = answers.send((answer, place)).await;
        });
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        self.in_hand -= 1;
        let session = answer.session;
        let Some(peer) = self.books.peer(session) else {
            return;
        };
        let now = self.app.now();
        let (exchange, response, done) =
            answer.response(&self.app, &mut self.grants, &self.settings, now);
        if self.grants.lookup(session, now).is_some() {
            self.newcomers.gone(session);
            self.server.trust(session, true);
        } else {
            self.is_new(session, peer);
        }
        self.refused(session, exchange, response);
        // Its bytes shall be in the books before they are told.
        self.turn();
        let used = self.server.session_counters(session);
        self.books.done(session, &done, used);
    }

    /// Answers, and counts it where it is a refusal of somebody who has not said who it is.
    fn refused(&mut self, session: u64, exchange: Exchange, response: Response) {
        if response.code.class() == 4 && self.newcomers.refused(session) {
            self.leaving.push(session);
        }
        self.respond(exchange, response);
    }

    fn respond(&mut self, exchange: Exchange, response: Response) {
        let now = self.now();
        self.server.respond(exchange, response, now.uptime);
    }
}
