"""paho-mqtt as somebody's program: connects, subscribes, publishes, and waits for its own message.

    paho_client.py HOST PORT TOPIC CA [CERT KEY]
"""
import sys
import paho.mqtt.client as mqtt

host, port, topic, ca, *pair = sys.argv[1:]
cert, key = pair if pair else (None, None)
ended = []


def end(words, code):
    if not ended:
        ended.append(code)
        print(words, flush=True)
    client.disconnect()


def on_connect(client, _data, _flags, reason, _properties):
    if reason.is_failure:
        end(f"refused: {reason}", 1)
    else:
        client.subscribe(topic, qos=1)


def on_subscribe(client, _data, _mid, reasons, _properties):
    if reasons[0].is_failure:
        end(f"no subscription: {reasons[0]}", 1)
    else:
        client.publish(topic, "hello from paho", qos=1)


def on_message(_client, _data, message):
    end(f"{message.topic}: {message.payload.decode()}", 0)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.tls_set(ca_certs=ca, certfile=cert, keyfile=key)
try:
    client.connect(host, int(port), keepalive=10)
    client.loop_forever()
except OSError as error:
    print(f"not connected: {error}", flush=True)
    sys.exit(1)
sys.exit(ended[0] if ended else 1)
