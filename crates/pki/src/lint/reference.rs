//! The table of rules as a page (docs/reference/cert-lint.md).

use super::{Answer, Cell, Ground, RULES, Verifier};

/// The page, in Markdown. It is also what the file in the repository holds; a test compares them.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n| rule | what |");
    for verifier in Verifier::ALL {
        page.push_str(&format!(" {verifier} |"));
    }
    page.push_str("\n|---|---|---|---|---|---|---|\n");
    for rule in RULES {
        page.push_str(&format!("| [`{0}`](#{0}) | {1} |", rule.id, rule.title));
        for cell in rule.cells {
            page.push_str(&format!(" {} |", words(cell)));
        }
        page.push('\n');
    }
    page.push_str("\n## Rules\n");
    for rule in RULES {
        let (first, rest) = rule.title.split_at(1);
        page.push_str(&format!(
            "\n### {}\n\n{}{rest}: {}.\n\n*Fix:* {}.\n",
            rule.id,
            first.to_uppercase(),
            rule.why,
            rule.fix
        ));
    }
    page
}

fn words(cell: Cell) -> String {
    let answer = match cell.answer {
        Answer::Refuses => "**refuses**",
        Answer::Accepts => "accepts",
        Answer::Depends => "*depends*",
    };
    let ground = match cell.ground {
        Ground::Tested => "",
        Ground::Documented => " ᵈ",
        Ground::Inferred => " ?",
    };
    format!("{answer}{ground}")
}

const INTRODUCTION: &str = "\
# What `sectag cert lint` knows

Made from the table in `crates/pki/src/lint/rules.rs` (`sectag cert lint --rules` prints it); a test compares the two.

Five verifiers look at a certificate: **rustls** with webpki and aws-lc; **OpenSSL** 3.0 at security **level 1**, its own
default, and at **level 2**, the default of Debian, Ubuntu and OpenSSL 3.2; **Mbed TLS** 3.6 with its default profile, as in the nRF
Connect SDK and Zephyr; and the TLS of the **nRF91 modem** itself.

*refuses* and *accepts* are meant for a peer that checks chain, dates, purpose and name; *depends* is said where version,
build or configuration decide. An answer without a mark was **tested**: a certificate was made for the rule, and webpki or
`openssl verify` was asked. ᵈ is from documentation or source. **?** is inferred: nobody has said or tried it here.

A finding is *refused* when somebody refuses it, a *warning* when somebody may, else a *note*. The exit code is 1 when
somebody refuses a file; `--for` names whose answer counts.

## Table
";
