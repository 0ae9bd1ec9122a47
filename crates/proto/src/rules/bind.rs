//! A rule's commands for one device: variables filled in, and checked as hand-made commands are. All of a rule, or nothing.

use super::template::{Binding, Place, Template, TemplateError, ValueError, Variable};
use super::{
    ErrorPolicy, NAME_CHARS_MAX, RENEW_AT_PERCENT_MAX, RETRIES_MAX, RULE_TAGS_MAX, Rule,
    RuleCommand, RuleDraft,
};
use crate::command::{CommandKind, CommandRequest, ConfigPairs, SecretField};
use crate::secret::SecretText;
use crate::service::{AddError, checked};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Why a rule was refused, or cannot be applied to a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct RuleError {
    /// The JSON member: `name`, `commands[2].request.attributes`.
    pub place: String,
    /// In words.
    pub reason: String,
}

impl RuleError {
    fn new(place: impl Into<String>, reason: impl ToString) -> Self {
        Self {
            place: place.into(),
            reason: reason.to_string(),
        }
    }
}

impl RuleDraft {
    /// Refuses what could not be applied to any device: names, limits, variables, and each command with sample values.
    /// `open_max` is how many commands may wait for a device, `finished` among them.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn check(&self, team_prefix: Option<&str>, open_max: usize) -> Result<(), RuleError> {
        let chars = self.name.chars().count();
        if chars == 0 || chars > NAME_CHARS_MAX || self.name.chars().any(char::is_control) {
            let reason =
                format!("1 to {NAME_CHARS_MAX} characters, none of them a control character");
            return Err(RuleError::new("name", reason));
        }
        if self.tags.len() > RULE_TAGS_MAX {
            let reason = format!("{} tags, limit {RULE_TAGS_MAX}", self.tags.len());
            return Err(RuleError::new("tags", reason));
        }
        if self.active && self.tags.is_empty() {
            return Err(RuleError::new("tags", NO_TAGS));
        }
        if let ErrorPolicy::Retry { times } = self.on_error
            && (times == 0 || times > RETRIES_MAX)
        {
            let reason = format!("retry: {times} times; 1 to {RETRIES_MAX} are possible");
            return Err(RuleError::new("onError", reason));
        }
        self.check_renewal()?;
        self.check_commands(open_max)?;
        for (index, command) in self.commands.iter().enumerate() {
            command.check(team_prefix).map_err(|e| e.within(index))?;
        }
        Ok(())
    }

    fn check_renewal(&self) -> Result<(), RuleError> {
        let Some(renewal) = &self.renewal else {
            return Ok(());
        };
        if renewal.at_percent == 0 || renewal.at_percent > RENEW_AT_PERCENT_MAX {
            let reason = format!(
                "atPercent {}: 1 to {RENEW_AT_PERCENT_MAX}",
                renewal.at_percent
            );
            return Err(RuleError::new("renewal", reason));
        }
        if self.commands.iter().all(|c| c.closed_loop().is_none()) {
            let reason =
                "there is no certificateSigningRequest with `issue`, so there is nothing to renew";
            return Err(RuleError::new("renewal", reason));
        }
        Ok(())
    }

    fn check_commands(&self, open_max: usize) -> Result<(), RuleError> {
        let is_finished = |c: &RuleCommand| c.request.kind() == CommandKind::Finished;
        let Some((last, before)) = self.commands.split_last() else {
            return Err(RuleError::new("commands", "there are none"));
        };
        if let Some(at) = before.iter().position(is_finished) {
            let reason =
                "`finished` is the last command of a rule, or left out: the service appends it";
            return Err(RuleError::new(format!("commands[{at}]"), reason));
        }
        let needed = self.commands.len() + usize::from(!is_finished(last));
        if needed > open_max {
            let reason = format!(
                "{needed} commands, `finished` among them, never fit a device: {open_max} may wait for one"
            );
            return Err(RuleError::new("commands", reason));
        }
        Ok(())
    }
}

/// Why a rule without tags stays a draft.
pub const NO_TAGS: &str =
    "an active rule needs at least one tag: it applies to the devices that carry it";

impl Rule {
    /// Whether it is for a device with these tags. A draft is for none.
    pub fn is_for(&self, tags: &[String]) -> bool {
        self.state == super::RuleState::Active && self.has_tag_of(tags)
    }

    /// Whether it shares a tag with `tags`, whatever its state.
    pub fn has_tag_of(&self, tags: &[String]) -> bool {
        self.tags.iter().any(|tag| tags.contains(tag))
    }

    /// Its commands for one device.
    ///
    /// # Errors
    /// [`RuleError`] of the first command that cannot be made.
    pub fn bind(&self, binding: &Binding<'_>) -> Result<Vec<RuleCommand>, RuleError> {
        self.commands
            .iter()
            .enumerate()
            .map(|(index, command)| command.bind(binding).map_err(|e| e.within(index)))
            .collect()
    }
}

impl RuleCommand {
    /// Refuses what no device could take, whatever the variables are. `team.prefix` is known; of the others samples are used.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn check(&self, team_prefix: Option<&str>) -> Result<(), RuleError> {
        self.sample(team_prefix).map(drop)
    }

    /// As [`RuleCommand::check`], with what came of it.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn sample(&self, team_prefix: Option<&str>) -> Result<Self, RuleError> {
        self.filled(|secret, variable| match variable {
            Variable::DeviceId => Ok(Cow::Borrowed(SAMPLE_DEVICE)),
            Variable::DeviceImei => Ok(Cow::Borrowed("350000000000000")),
            Variable::DeviceType => Ok(Cow::Borrowed("nrf9151_LACA")),
            Variable::TeamPrefix => team_prefix
                .map(|prefix| Cow::Owned(prefix.to_string()))
                .ok_or(ValueError::NoPrefix),
            // A pre-shared key is hexadecimal.
            Variable::Tag(_) if secret => Ok(Cow::Borrowed("00")),
            Variable::Tag(_) => Ok(Cow::Borrowed("sample")),
        })
    }

    /// The command for one device.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn bind(&self, binding: &Binding<'_>) -> Result<Self, RuleError> {
        self.filled(|_, variable| {
            binding
                .value(variable)
                .map(|value| Cow::Owned(value.into_owned()))
        })
    }

    /// Variables in its texts, sorted, each once.
    ///
    /// # Errors
    /// [`RuleError`] where a text is no template.
    pub fn variables(&self) -> Result<Vec<Variable>, RuleError> {
        let mut found = Vec::new();
        let mut note = |place: &str, text: &str| -> Result<(), RuleError> {
            let template = parse(place, text)?;
            found.extend(template.variables().cloned());
            Ok(())
        };
        if let Some(description) = &self.description {
            note("description", description)?;
        }
        texts(&self.request, &mut |field, _, _, text| {
            note(field, text)?;
            Ok(text.to_string())
        })?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// With values from `value(in a secret, variable)`.
    fn filled<'v>(
        &self,
        value: impl Fn(bool, &Variable) -> Result<Cow<'v, str>, ValueError>,
    ) -> Result<Self, RuleError> {
        let fill = |field: &str, place: Place, secret: bool, text: &str| {
            parse(field, text)?
                .fill(place, |variable| value(secret, variable))
                .map_err(|e| RuleError::new(field, e))
        };
        let description = match &self.description {
            Some(text) => Some(fill("description", Place::Free, false, text)?),
            None => None,
        };
        let request = texts(&self.request, &mut |field, place, secret, text| {
            fill(field, place, secret, text)
        })?;
        let request = checked(request).map_err(|e| match e {
            AddError::Field { field, reason } => RuleError::new(field, reason),
            e => RuleError::new("request", e),
        })?;
        Ok(Self {
            description,
            request,
        })
    }
}

/// A device id to try a rule with.
const SAMPLE_DEVICE: &str = "50363154-3931-44f0-8022-121b6401627d";

fn parse(field: &str, text: &str) -> Result<Template, RuleError> {
    Template::parse(text).map_err(|e: TemplateError| RuleError::new(field, e))
}

impl RuleError {
    fn within(self, index: usize) -> Self {
        let inner = match self.place.as_str() {
            "description" | "request" => self.place,
            field => format!("request.{field}"),
        };
        Self {
            place: format!("commands[{index}].{inner}"),
            reason: self.reason,
        }
    }
}

/// What becomes of a text: `(field, place, is a secret, text)`.
type Fill<'a> = dyn FnMut(&'static str, Place, bool, &str) -> Result<String, RuleError> + 'a;

/// A request with each of its texts replaced by what `fill(field, place, is a secret, text)` says.
fn texts(request: &CommandRequest, fill: &mut Fill<'_>) -> Result<CommandRequest, RuleError> {
    use CommandRequest as R;
    let mut filled = request.clone();
    match &mut filled {
        R::CertificateSigningRequest { attributes, .. } => {
            *attributes = fill("attributes", Place::Attributes, false, attributes)?;
        }
        R::ClientCertificate { content, .. } | R::ServerCertificate { content, .. } => {
            *content = fill("content", Place::Quoted, false, content)?;
        }
        R::ClientPrivateKey {
            content, password, ..
        } => {
            fill_secret("content", content, fill)?;
            if let Some(password) = password {
                fill_secret("password", password, fill)?;
            }
        }
        R::PreSharedKey {
            identity, secret, ..
        } => {
            *identity = fill("identity", Place::Quoted, false, identity)?;
            fill_secret("secret", secret, fill)?;
        }
        R::Config(ConfigPairs(pairs)) => {
            for (key, value) in pairs {
                *key = fill("config", Place::Free, false, key)?;
                *value = fill("config", Place::Free, false, value)?;
            }
        }
        R::AtCommand { parameters, .. } => {
            *parameters = fill("parameters", Place::Parameters, false, parameters)?;
        }
        R::ClientPrivateKeyGeneration { .. }
        | R::CloudAccessKeyGeneration { .. }
        | R::EndorsementKeyGeneration { .. }
        | R::Finished {} => {}
    }
    Ok(filled)
}

fn fill_secret(
    field: &'static str,
    secret: &mut SecretField,
    fill: &mut Fill<'_>,
) -> Result<(), RuleError> {
    if let Some(text) = secret.given() {
        let filled = fill(field, Place::Quoted, true, text.expose())?;
        *secret = SecretField::Given(SecretText::new(filled));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::token::DeviceType;
    use std::vec;

    fn draft(commands: &str) -> RuleDraft {
        let json = format!(r#"{{"name":"r","active":true,"tags":["a"],"commands":{commands}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn refused(commands: &str) -> String {
        draft(commands).check(None, 100).unwrap_err().to_string()
    }

    fn bound(command: &str, tags: &[&str]) -> Result<RuleCommand, String> {
        let command: RuleCommand = serde_json::from_str(command).unwrap();
        let tags: Vec<String> = tags.iter().map(|tag| tag.to_string()).collect();
        let binding = Binding {
            device: SAMPLE_DEVICE.parse().unwrap(),
            device_type: DeviceType(3),
            tags: &tags,
            team_prefix: Some("acme"),
        };
        command.bind(&binding).map_err(|e| e.to_string())
    }

    #[test]
    fn an_unknown_variable_is_an_error_at_creation_with_its_place() {
        let e = refused(r#"[{"request":{"config":{"k":"{{device.name}}"}}}]"#);
        assert!(
            e.starts_with("commands[0].request.config: `{{device.name}}`"),
            "{e}"
        );
        let e = refused(r#"[{"request":{"config":{"k":"{{team.prefix}}/x"}}}]"#);
        assert!(e.contains("the team has no topic prefix"), "{e}");
    }

    #[test]
    fn commands_are_checked_as_hand_made_ones_are() {
        let e = refused(r#"[{"request":{"serverCertificate":{"secTag":1,"content":"x"}}}]"#);
        assert!(
            e.starts_with("commands[0].request.content: is not PEM"),
            "{e}"
        );
        let e = refused(r#"[{"request":{"finished":{}}},{"request":{"config":{"a":"b"}}}]"#);
        assert!(e.starts_with("commands[0]: `finished` is the last"), "{e}");
        assert_eq!(refused("[]"), "commands: there are none");
        let psk = r#"[{"request":{"preSharedKey":{"secTag":1,"identity":"{{device.id}}","secret":"{{tag.psk}}"}}}]"#;
        draft(psk).check(None, 2).unwrap();
        let e = draft(psk).check(None, 1).unwrap_err().to_string();
        assert!(
            e.contains("2 commands, `finished` among them, never fit"),
            "{e}"
        );
    }

    #[test]
    fn retries_and_renewals_are_within_their_limits() {
        let mut rule = draft(r#"[{"request":{"finished":{}}}]"#);
        rule.on_error = ErrorPolicy::Retry { times: 0 };
        assert!(rule.check(None, 100).unwrap_err().place == "onError");
        rule.on_error = ErrorPolicy::KeepRest;
        rule.renewal = Some(super::super::Renewal::default());
        let e = rule.check(None, 100).unwrap_err().to_string();
        assert!(e.contains("nothing to renew"), "{e}");
        rule.renewal = None;
        rule.tags.clear();
        assert_eq!(rule.check(None, 100).unwrap_err().place, "tags");
        rule.active = false;
        rule.check(None, 100).unwrap();
    }

    #[test]
    fn a_bound_command_holds_the_devices_values() {
        let csr = r#"{"description":"for {{device.type}}","request":{"certificateSigningRequest":
            {"secTag":1,"attributes":"CN={{device.id}},L={{tag.location}}","issue":true}}}"#;
        let command = bound(csr, &["location=Trondheim"]).unwrap();
        assert_eq!(command.description.as_deref(), Some("for nrf9160_SICA"));
        let CommandRequest::CertificateSigningRequest { attributes, .. } = &command.request else {
            panic!("{command:?}");
        };
        assert_eq!(*attributes, format!("CN={SAMPLE_DEVICE},L=Trondheim"));
        let e = bound(csr, &["location=A,CN=b"]).unwrap_err();
        assert!(e.contains("holds `,`"), "{e}");
        assert!(bound(csr, &[]).unwrap_err().contains("no tag `location=…`"));
    }

    #[test]
    fn a_secret_takes_its_value_and_is_checked_again() {
        let psk = r#"{"request":{"preSharedKey":{"secTag":1,"identity":"{{team.prefix}}","secret":"{{tag.psk}}"}}}"#;
        let command = bound(psk, &["psk=00ff"]).unwrap();
        assert_eq!(command.request.secrets()[0].expose(), "00ff");
        let e = bound(psk, &["psk=xyz"]).unwrap_err();
        assert!(e.contains("hexadecimal") && !e.contains("xyz"), "{e}");
    }

    #[test]
    fn variables_are_listed_once_each() {
        let at = r#"{"description":"{{tag.b}}","request":{"atCommand":{"command":"%X","parameters":"{{tag.b}},{{device.id}}"}}}"#;
        let command: RuleCommand = serde_json::from_str(at).unwrap();
        let found = command.variables().unwrap();
        assert_eq!(found, vec![Variable::DeviceId, Variable::Tag("b".into())]);
    }
}
