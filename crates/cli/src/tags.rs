//! `sectag tags`: the registry of provisioning groups.

use crate::args::Tags;
use crate::client::{Owner, all_pages};
use crate::fault::Outcome;
use crate::output::{self, text_of};
use crate::rules::tag_path;
use serde_json::json;

const PATH: &str = "/v1/provisioning/tags";

/// `sectag tags`
pub(crate) async fn tags(owner: &Owner, verb: Option<Tags>, as_json: bool) -> Outcome {
    match verb.unwrap_or(Tags::List) {
        Tags::List => {
            let items = all_pages(owner, &format!("{PATH}?pageLimit=100")).await?;
            if as_json {
                output::json(&json!({ "items": items }));
            } else if items.is_empty() {
                eprintln!("no tags are registered; devices and rules may carry any");
            } else {
                let rows: Vec<Vec<String>> = items
                    .iter()
                    .map(|tag| {
                        ["tag", "description", "createdAt"]
                            .map(|member| text_of(tag, member))
                            .into()
                    })
                    .collect();
                output::table(&["TAG", "DESCRIPTION", "CREATED"], &rows);
            }
        }
        Tags::Create { tag, description } => {
            let mut body = json!({ "tag": tag });
            if let Some(description) = description {
                body["description"] = json!(description);
            }
            let made = owner.post(PATH, &body).await?;
            if as_json {
                output::json(&made);
            } else {
                eprintln!("registered");
            }
        }
        Tags::Delete { tag } => {
            owner.delete(&tag_path(&tag)).await?;
            eprintln!("taken off the list; devices and rules keep it");
        }
    }
    Ok(())
}
