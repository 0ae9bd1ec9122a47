//! Virtual machine steps of the statements behind a question.

use super::fleet::{Fleet, PAGE};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, StatementStatus, params_from_iter};

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../store/sql/sqlite/", $name, ".sql"))
    };
}

pub(crate) const STATEMENTS: [(&str, &[&str]); 2] = [
    (
        "fetch next commands",
        &[sql!("device_by_id"), sql!("commands_open")],
    ),
    (
        "list devices",
        &[sql!("devices_stream"), sql!("device_by_id")],
    ),
];

/// The steps of these statements, about a device in the middle of the fleet.
pub(crate) fn of(fleet: &Fleet, statements: &[&str]) -> i32 {
    let path = fleet.home.join("sectag.db");
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let device = Value::Blob(fleet.devices[fleet.devices.len() / 2].as_bytes().to_vec());
    let stretch = [
        Value::Text(fleet.view().team),
        Value::Text(String::new()),
        Value::Integer(0),
        Value::Integer(0),
        device.clone(),
        Value::Blob(vec![0xff; 16]),
        Value::Integer(PAGE as i64 + 1),
    ];
    let steps = statements.iter().map(|sql| {
        let mut statement = db.prepare(sql).unwrap();
        let params = match statement.parameter_count() {
            1 => vec![device.clone()],
            _ => stretch.to_vec(),
        };
        let mut rows = statement.query(params_from_iter(params)).unwrap();
        while rows.next().unwrap().is_some() {}
        drop(rows);
        statement.get_status(StatementStatus::VmStep)
    });
    steps.sum()
}
