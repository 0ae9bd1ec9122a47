//! A TOML file that belongs to its operator: edited in place, so that comments, order, layout and tables that we do not know
//! stay (spec/gateway-config §4.5).
//!
//! ```text
//!   edit(path, change) ── lock ─ read ─ Document ─ change ─ check ─ write ── unlock
//! ```

use sectag_keep::KeepError;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// A parsed file and its text.
#[derive(Debug, Clone)]
pub struct Document {
    parsed: toml_edit::Document<String>,
    /// Lines of the original end in CR LF.
    crlf: bool,
}

/// A text that is not TOML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Why a file could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Reading or writing failed. Never because the file is not there: that is an empty document.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Not UTF-8.
    #[error("`{}` is not text in UTF-8", .0.display())]
    NoText(PathBuf),
    /// Not TOML.
    #[error("`{}` is not TOML", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Place and reason.
        source: Broken,
    },
    /// A table cannot take the key because of how the file is written.
    #[error("`{0}` is a value in the file, so nothing can be put below it")]
    Blocked(String),
    /// The edited text would not say what it should. Nothing was written.
    #[error("`{0}` cannot be changed without changing something else in the file; edit it by hand")]
    Unsafe(String),
}

impl Default for Document {
    /// An empty file.
    fn default() -> Self {
        Self {
            parsed: toml_edit::Document::parse(String::new()).expect("an empty text is TOML"),
            crlf: false,
        }
    }
}

impl Document {
    /// Parses a text.
    ///
    /// # Errors
    /// [`Broken`] with line and column.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        Ok(Self {
            parsed: toml_edit::Document::parse(text.to_owned()).map_err(|e| broken(&e, text))?,
            crlf: text.contains("\r\n"),
        })
    }

    /// Reads a file; one that is not there is empty, one that cannot be read is an error (RULE 7).
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(path: &Path) -> Result<Self, DocumentError> {
        let content = sectag_keep::read_public(path)?;
        Self::of(content.unwrap_or_default(), path)
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.parsed.raw()
    }

    /// What stands under a dotted name: a value or a table.
    pub fn get(&self, name: &str) -> Option<&Item> {
        let mut item = self.parsed.as_item();
        for segment in name.split('.') {
            item = item.as_table_like()?.get(segment)?;
        }
        Some(item)
    }

    /// The names in a table, in the order of the file; none when it is not there.
    pub fn names_in(&self, name: &str) -> Vec<String> {
        let table = self.get(name).and_then(Item::as_table_like);
        let names = table.map(|table| table.iter().map(|(name, _)| name.to_owned()).collect());
        names.unwrap_or_default()
    }

    /// All values with their dotted names, in the order of the file; an array of tables counts as one.
    pub fn values(&self) -> Vec<(String, &Item)> {
        let mut values = Vec::new();
        gather(self.parsed.as_table(), "", &mut values);
        values
    }

    /// The dotted names of tables with nothing in them.
    pub fn empty_tables(&self) -> Vec<String> {
        let mut names = Vec::new();
        gather_empty(self.parsed.as_table(), "", &mut names);
        names
    }

    /// Sets a value; where there was one its layout and comments stay.
    ///
    /// # Errors
    /// [`DocumentError::Blocked`], [`DocumentError::Unsafe`].
    pub fn set(&mut self, name: &str, value: &Value) -> Result<(), DocumentError> {
        self.put(name, value, "")
    }

    /// Removes a value, and says whether it was there. Comments stay where they are.
    ///
    /// # Errors
    /// [`DocumentError::Unsafe`].
    pub fn unset(&mut self, name: &str) -> Result<bool, DocumentError> {
        if self.get(name).is_none() {
            return Ok(false);
        }
        let text = match self.lines_of(name) {
            Some(lines) => {
                let behind = lines
                    .behind
                    .as_deref()
                    .map(|comment| format!("{comment}\n"));
                let mut text = self.text().to_owned();
                text.replace_range(lines.all, &behind.unwrap_or_default());
                text
            }
            None => {
                let mut document = self.parsed.clone().into_mut();
                let (table, leaf) = parent(document.as_table_mut(), name)?;
                table.remove(leaf);
                document.to_string()
            }
        };
        self.become_text(&text, name, None)?;
        Ok(true)
    }

    /// Gives a value another name, with the comments above it and behind it. `value` replaces it.
    ///
    /// # Errors
    /// [`DocumentError::Blocked`], [`DocumentError::Unsafe`].
    pub fn rename(&mut self, old: &str, new: &str, value: &Value) -> Result<(), DocumentError> {
        let mut comments = String::new();
        let lines = self.lines_of(old);
        let mut renamed = self.clone();
        if let Some(Lines { all, above, behind }) = lines {
            comments.push_str(&self.text()[above.clone()]);
            if let Some(behind) = behind {
                comments.push_str(&behind);
                comments.push('\n');
            }
            let mut text = self.text().to_owned();
            text.replace_range(above.start..all.end, "");
            renamed.become_text(&text, old, None)?;
        } else {
            renamed.unset(old)?;
        }
        renamed.put(new, value, &comments)?;
        *self = renamed;
        Ok(())
    }

    fn of(content: Vec<u8>, path: &Path) -> Result<Self, DocumentError> {
        let text =
            String::from_utf8(content).map_err(|_| DocumentError::NoText(path.to_owned()))?;
        Self::parse(&text).map_err(|source| DocumentError::Broken {
            path: path.to_owned(),
            source,
        })
    }

    fn put(&mut self, name: &str, value: &Value, comments: &str) -> Result<(), DocumentError> {
        let old = self.get(name).and_then(Item::as_value);
        // A value that is there is replaced where it stands.
        if let (Some(place), true) = (old.and_then(Value::span), comments.is_empty()) {
            let mut text = self.text().to_owned();
            text.replace_range(place, &value.clone().decorated("", "").to_string());
            return self.become_text(&text, name, Some(value));
        }
        let mut document: DocumentMut = self.parsed.clone().into_mut();
        // Comments of a file without any key are its head, not its end.
        if document.as_table().is_empty() {
            let head = document.trailing().as_str().unwrap_or_default().to_owned();
            let mut text = head;
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            document = DocumentMut::new();
            insert(&mut document, name, value, comments)?;
            text.push_str(&document.to_string());
            return self.become_text(&text, name, Some(value));
        }
        insert(&mut document, name, value, comments)?;
        self.become_text(&document.to_string(), name, Some(value))
    }

    /// Takes over an edited text if it says what it should: `name` has `value`, and nothing else changed.
    fn become_text(
        &mut self,
        text: &str,
        name: &str,
        value: Option<&Value>,
    ) -> Result<(), DocumentError> {
        let unsafe_edit = || DocumentError::Unsafe(name.to_owned());
        let text = if self.crlf {
            text.replace("\r\n", "\n").replace('\n', "\r\n")
        } else {
            text.to_owned()
        };
        let edited = Self::parse(&text).map_err(|_| unsafe_edit())?;
        let kept = |document: &Self| -> Vec<(String, String)> {
            let below = format!("{name}.");
            let others = document.values().into_iter();
            let others = others.filter(|(other, _)| other != name && !other.starts_with(&below));
            let mut others: Vec<_> = others.map(|(name, item)| (name, plain(item))).collect();
            others.sort_unstable();
            others
        };
        let said = edited.get(name).map(plain);
        let wanted = value.map(|value| plain(&Item::Value(value.clone())));
        if said != wanted || kept(self) != kept(&edited) {
            return Err(unsafe_edit());
        }
        self.parsed = edited.parsed;
        Ok(())
    }

    /// The lines of a value that has its own: `None` inside an inline table, and for tables.
    fn lines_of(&self, name: &str) -> Option<Lines> {
        let (groups, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        let mut table = self.parsed.as_table();
        for segment in groups.split('.').filter(|segment| !segment.is_empty()) {
            table = table.get(segment)?.as_table()?;
        }
        let (key, item) = table.get_key_value(leaf)?;
        let value = item.as_value()?.span()?;
        let key = key.span()?;
        let text = self.text();
        let start = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
        // Only the front part of a dotted key may stand before it.
        let front = |c: char| c.is_ascii_alphanumeric() || "-_.\"' \t".contains(c);
        if !text[start..key.start].chars().all(front) {
            return None;
        }
        let rest = text[value.end..].split('\n').next().unwrap_or_default();
        let comment = rest.trim();
        if !comment.is_empty() && !comment.starts_with('#') {
            return None;
        }
        let end = (value.end + rest.len() + 1).min(text.len());
        let mut above = start;
        for line in text[..start].split_inclusive('\n').rev() {
            if !line.trim_start().starts_with('#') {
                break;
            }
            above -= line.len();
        }
        Some(Lines {
            all: start..end,
            above: above..start,
            behind: (!comment.is_empty()).then(|| comment.to_owned()),
        })
    }
}

/// Changes a file under a lock; the answer of `change` is handed on. Nothing is written when the text stays the same.
///
/// # Errors
/// As [`Document::read`]; whatever `change` says; and [`DocumentError::Keep`] when it could not be written.
pub fn edit<T, E: From<DocumentError> + From<KeepError>>(
    path: &Path,
    change: impl FnOnce(&mut Document) -> Result<T, E>,
) -> Result<T, E> {
    sectag_keep::edit(path, |content| {
        let mut document = Document::of(content.unwrap_or_default(), path)?;
        let before = document.text().to_owned();
        let answer = change(&mut document)?;
        let after = document.text();
        let content = (after != before).then(|| after.as_bytes().to_vec());
        Ok((content, answer))
    })
}

struct Lines {
    /// From the start of its line to behind the line end.
    all: Range<usize>,
    /// The comment lines directly above, perhaps none.
    above: Range<usize>,
    /// The comment behind it.
    behind: Option<String>,
}

fn gather<'a>(table: &'a dyn TableLike, prefix: &str, values: &mut Vec<(String, &'a Item)>) {
    for (name, item) in table.iter() {
        // A quoted segment with a dot in it is one segment.
        let quoted = name.contains('.').then(|| format!("{name:?}"));
        let name = quoted.as_deref().unwrap_or(name);
        let name = dotted(prefix, name);
        match item.as_table_like() {
            Some(table) => gather(table, &name, values),
            None => values.push((name, item)),
        }
    }
}

fn dotted(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_owned(),
        prefix => [prefix, ".", name].concat(),
    }
}

fn gather_empty(table: &dyn TableLike, prefix: &str, names: &mut Vec<String>) {
    for (name, item) in table.iter().filter(|(name, _)| !name.contains('.')) {
        let Some(table) = item.as_table_like() else {
            continue;
        };
        let name = dotted(prefix, name);
        if table.is_empty() {
            names.push(name);
        } else {
            gather_empty(table, &name, names);
        }
    }
}

/// The table of a name's last segment, made where it is missing, in the style of its surroundings.
fn parent<'a, 'n>(
    root: &'a mut Table,
    name: &'n str,
) -> Result<(&'a mut dyn TableLike, &'n str), DocumentError> {
    let (groups, leaf) = name.rsplit_once('.').unwrap_or(("", name));
    let mut table: &mut dyn TableLike = root;
    // Below an inline table only inline ones may stand, below a dotted key only dotted ones.
    let (mut inline, mut dotted) = (false, false);
    for segment in groups.split('.').filter(|segment| !segment.is_empty()) {
        if !table.contains_key(segment) {
            let made = if inline {
                Item::Value(Value::InlineTable(InlineTable::new()))
            } else {
                let mut made = Table::new();
                made.set_implicit(true);
                made.set_dotted(dotted);
                Item::Table(made)
            };
            table.insert(segment, made);
        }
        let item = table.get_mut(segment);
        let item = item.ok_or_else(|| DocumentError::Blocked(segment.to_owned()))?;
        inline = item.is_inline_table();
        dotted = item.as_table().is_some_and(Table::is_dotted);
        table = item
            .as_table_like_mut()
            .ok_or_else(|| DocumentError::Blocked(segment.to_owned()))?;
    }
    Ok((table, leaf))
}

fn insert(
    document: &mut DocumentMut,
    name: &str,
    value: &Value,
    comments: &str,
) -> Result<(), DocumentError> {
    let (table, leaf) = parent(document.as_table_mut(), name)?;
    match table.get_mut(leaf).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = value.clone();
            *old.decor_mut() = decor;
        }
        None => {
            table.remove(leaf);
            table.insert(leaf, Item::Value(value.clone()));
        }
    }
    if !comments.is_empty()
        && let Some(mut key) = table.key_mut(leaf)
    {
        let decor = key.leaf_decor_mut();
        let before = decor.prefix().and_then(|prefix| prefix.as_str());
        let prefix = format!("{}{comments}", before.unwrap_or_default());
        decor.set_prefix(prefix);
    }
    Ok(())
}

/// A value without its layout, to compare.
fn plain(item: &Item) -> String {
    // The same number or text may be written in several ways.
    match item.as_value() {
        Some(Value::String(text)) => return format!("{:?}", text.value()),
        Some(Value::Integer(number)) => return number.value().to_string(),
        _ => {}
    }
    let mut item = item.clone();
    if let Some(value) = item.as_value_mut() {
        value.decor_mut().clear();
        if let Some(array) = value.as_array_mut() {
            array.fmt();
        }
    }
    item.to_string()
}

/// Place and reason in the words of the parser, without the line when it may hold a secret.
fn broken(error: &toml_edit::TomlError, text: &str) -> Broken {
    const SECRET: [&str; 3] = ["password", "pin", "secret"];
    let place = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..place).unwrap_or_default();
    let line = text.split('\n').nth(before.matches('\n').count());
    let line = line.unwrap_or_default().to_ascii_lowercase();
    // In a text of several lines, the word may stand on another one.
    let several = [r#"""""#, "'''"].iter().any(|quotes| text.contains(quotes));
    if several || SECRET.iter().any(|word| line.contains(word)) {
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        return Broken(format!(
            "TOML parse error at line {}, column {}\n{}",
            before.matches('\n').count() + 1,
            before[start..].chars().count() + 1,
            error.message()
        ));
    }
    Broken(error.to_string().trim_end().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
