// MQTT.js as a desktop client: port 8883, the server's CA, the client certificate that `sectag up` made.
//     desktop.js PORT CA CERT KEY
const mqtt = require('mqtt');
const { readFileSync } = require('fs');

const [port, ca, cert, key] = process.argv.slice(2);
const client = mqtt.connect({
  protocol: 'mqtts', host: 'localhost', port: Number(port), reconnectPeriod: 0,
  ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key),
});
const fail = (error) => { console.error(String(error)); process.exit(1); };
client.on('error', fail);
client.on('close', () => fail('closed'));
client.on('connect', () => client.subscribe('#', { qos: 1 }, (error, granted) => {
  if (error || granted[0].qos > 2) fail(error || 'refused');
  console.log('connected, subscribed to #');
  client.removeAllListeners('close');
  client.end(() => process.exit(0));
}));
