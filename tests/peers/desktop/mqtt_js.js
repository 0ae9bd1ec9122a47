// MQTT.js as a desktop client: connects, subscribes, publishes, and waits for its own message.
//     mqtt_js.js HOST PORT TOPIC CA [CERT KEY]
const mqtt = require('mqtt');
const { readFileSync } = require('fs');

const [host, port, topic, ca, cert, key] = process.argv.slice(2);
const client = mqtt.connect({
  protocol: 'mqtts', host, port: Number(port), reconnectPeriod: 0, ca: readFileSync(ca),
  cert: cert && readFileSync(cert), key: key && readFileSync(key),
});
const fail = (error) => { console.log(`not connected: ${error}`); process.exit(1); };
client.on('error', fail);
client.on('close', () => fail('closed'));
client.on('connect', () => client.subscribe(topic, { qos: 1 }, (error, granted) => {
  if (error || granted[0].qos > 2) fail(error || 'no subscription');
  client.publish(topic, 'hello from MQTT.js', { qos: 1 });
}));
client.on('message', (where, payload) => {
  console.log(`${where}: ${payload}`);
  client.removeAllListeners('close');
  client.end(() => process.exit(0));
});
