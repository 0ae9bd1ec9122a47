//! `gateway`: plan, apply, status, probe, check, remove, init. `sectag_host` looks and acts; this prints.
//!
//! Exit 0 done, 1 the answer is no, 2 it could not be tried, 3 the plan is printed and somebody must execute it.

mod apply;
mod check;
mod init;
mod say;
mod services;
mod status;

use crate::args::{BrokerArgs, Gateway, GatewayVerb, Global};
use crate::config;
use crate::fault::{Fault, Outcome};
use crate::home::Place;
use crate::output;
use sectag_gateway::Settings;
use sectag_gateway::mosquitto::BrokerVersion;
use sectag_host::broker::{BrokerError, BrokerOptions};
use sectag_host::journal::Journal;
use sectag_host::probe::{self, Questions, Report};
use sectag_host::survey::{Survey, SurveyError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The exit code of a plan that somebody must execute.
const SOMEBODY: u8 = 3;
/// One connection of a probe.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// [`Survey::make`] or [`Survey::in_use`].
type MakeSurvey = fn(Settings, &Path, &BrokerOptions, Option<&str>) -> Result<Survey, SurveyError>;

/// What all verbs work on.
struct Desk<'a> {
    global: &'a Global,
    place: &'a Place,
    broker: BrokerArgs,
}

/// `sectag gateway`
pub(crate) async fn gateway(global: &Global, place: &Place, args: Gateway) -> Outcome {
    let desk = Desk {
        global,
        place,
        broker: args.broker,
    };
    match args.verb {
        GatewayVerb::Plan => desk.plan(),
        GatewayVerb::Apply(args) => {
            apply::apply(&desk, &args).await?;
            // Pairs of the keys are proved by now; those of others are only put in place.
            crate::cert::promote_waiting(place, args.dry_run)
        }
        GatewayVerb::Status => status::status(&desk).await,
        GatewayVerb::Probe => desk.probe().await,
        GatewayVerb::Check { file } => check::check(&desk, &file),
        GatewayVerb::Remove => apply::remove(&desk).await,
        GatewayVerb::Init(args) => init::init(&desk, &args).await,
    }
}

impl Desk<'_> {
    fn plan(&self) -> Outcome {
        let survey = self.survey()?;
        self.warn_of_interruption(&survey)?;
        self.show_plan(&survey)?;
        apply::is_ours(&survey)
    }

    /// Prints the plan, or, when there is none, why.
    fn show_plan(&self, survey: &Survey) -> Outcome {
        match &survey.plan {
            Ok(plan) => {
                if self.global.json {
                    output::json(&say::plan_json(survey, plan));
                } else {
                    output::print(&say::plan(survey, plan));
                }
                Ok(())
            }
            Err(findings) => {
                if self.global.json {
                    output::json(&say::refusal_json(survey, findings));
                }
                Err(say::refused(findings))
            }
        }
    }

    async fn probe(&self) -> Outcome {
        let (_, settings) = config::load(self.global, self.place)?;
        let survey = self.surveyed(settings, Survey::in_use)?;
        self.warn_of_interruption(&survey)?;
        let report = probe::probe(&questions(&survey)).await;
        self.show_report(&report);
        say::verdict(&report)
    }

    fn show_report(&self, report: &Report) {
        if self.global.json {
            output::json(&say::report_json(report));
        } else {
            output::print(&say::report(report));
        }
    }

    fn warn_of_interruption(&self, survey: &Survey) -> Outcome {
        if Journal::read(&survey.place.journal())?.is_some() {
            eprintln!(
                "warning: an apply was interrupted; `sectag gateway apply` puts its files back, or finishes it, first"
            );
        }
        Ok(())
    }

    fn survey(&self) -> Outcome<Survey> {
        let (_, settings) = config::load(self.global, self.place)?;
        self.survey_of(settings)
    }

    fn survey_of(&self, settings: Settings) -> Outcome<Survey> {
        self.surveyed(settings, Survey::make)
    }

    fn surveyed(&self, settings: Settings, make: MakeSurvey) -> Outcome<Survey> {
        let user = self.broker.service_user.as_deref();
        let surveyed = make(settings, &self.place.home, &self.options()?, user);
        let mut survey = surveyed.map_err(|error| {
            let hint = match &error {
                SurveyError::Broker(error) => Some(BrokerError::hint(error).to_owned()),
                SurveyError::Keep(error) => error.hint(),
            };
            let fault = Fault::from(error);
            match hint {
                Some(hint) => fault.hint(hint),
                None => fault,
            }
        })?;
        // A command that is pasted must meet the same home and the same keys.
        let options = config::options(self.global);
        let findings = match &mut survey.plan {
            Ok(plan) => &mut plan.findings,
            Err(findings) => findings,
        };
        for finding in findings {
            let fix = std::mem::take(&mut finding.fix);
            finding.fix = config::with_options("sectag", fix, &options);
        }
        Ok(survey)
    }

    fn options(&self) -> Outcome<BrokerOptions> {
        let args = &self.broker;
        let version = match &args.broker_version {
            Some(text) => Some(
                text.parse::<BrokerVersion>()
                    .map_err(|e| Fault::untried(e.to_string()).hint("give it as 2.0.11"))?,
            ),
            None => None,
        };
        Ok(BrokerOptions {
            main: args.broker_config.clone(),
            program: args.broker.clone(),
            version,
            user: args.broker_user.clone(),
            reload: args.reload_command.clone(),
            restart: args.restart_command.clone(),
            unit: args.unit.clone(),
            pid: args.pid.clone(),
        })
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.broker.timeout)
    }

    /// The file that the keys stand in.
    fn config_file(&self) -> Outcome<PathBuf> {
        Ok(config::locations(self.global, self.place)?.file())
    }
}

fn questions(survey: &Survey) -> Questions<'_> {
    Questions {
        settings: &survey.settings,
        facts: &survey.facts,
        logs: survey.logs(),
        patience: PROBE_PATIENCE,
    }
}
