//! Services restart after the broker serves, and not while one is in the middle of something (RULE 18).

use super::desk::{As, Desk, have_mosquitto};
use sectag_mqtt::{Client, ConnectOptions, Qos, Transport};

/// Leaves a retained message at the internal listener.
fn retain(desk: &Desk, topic: &str, text: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = ConnectOptions::new("operator");
        let connected = Client::connect("127.0.0.1", desk.internal, Transport::Plain, options);
        let (client, _incoming) = connected.await.unwrap();
        client
            .publish(topic, text, Qos::AtLeastOnce, true)
            .await
            .unwrap();
        client.disconnect().await.unwrap();
    });
}

#[test]
fn services_restart_after_the_broker_and_not_in_the_middle_of_an_operation() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::ready(As::Us);
    desk.ok(&["gateway", "apply"]);
    let topic = "te/device/main///cmd/software_update/1";
    retain(&desk, topic, "{\"status\":\"executing\"}");
    retain(
        &desk,
        "te/device/main///cmd/restart/1",
        "{\"status\":\"successful\"}",
    );
    let restarted = desk.path("restarted");
    let touch = format!("touch {}", restarted.display());
    let apply = ["gateway", "apply", "--services-command", &touch];
    // A key of the clients: the services must restart, the broker not.
    desk.ok(&["config", "set", "mqtt.client.host", "localhost"]);
    let done = desk.sectag(&apply).expect(1);
    done.says(&format!("operations are in progress: {topic}"))
        .says("--force");
    assert!(!done.said().contains("cmd/restart") && !restarted.exists());
    retain(&desk, topic, "{\"status\":\"successful\"}");
    desk.ok(&apply);
    assert!(restarted.exists());
    // Somebody who insists.
    std::fs::remove_file(&restarted).unwrap();
    retain(&desk, topic, "{\"status\":\"executing\"}");
    desk.ok(&["config", "set", "mqtt.client.host", "127.0.0.1"]);
    desk.ok(&[&apply[..], &["--force"]].concat());
    assert!(restarted.exists());
}

#[test]
fn a_service_that_does_not_restart_is_said_and_the_broker_stays_as_it_is() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::ready(As::Us);
    desk.ok(&["gateway", "apply"]);
    desk.ok(&["config", "set", "mqtt.client.host", "localhost"]);
    let done = desk
        .sectag(&[
            "gateway",
            "apply",
            "--services-command",
            "echo it is masked; exit 5",
        ])
        .expect(1);
    done.says("the broker has its new listeners, but a service did not restart")
        .says("it is masked");
    desk.ok(&["gateway", "probe"]);
}
