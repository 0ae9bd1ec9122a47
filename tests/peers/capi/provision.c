/*
 * A provisioning client in C: Sectag's library decides, libcurl carries HTTPS, a TCP socket carries AT lines.
 *
 *     provision https://HOST:PORT CA.pem MODEM-HOST MODEM-PORT
 *
 * Prints one line per event and `result N` at the end; what the library logs goes to stderr.
 * Exit code 0: DONE. 1: another result. 2: it could not be tried.
 */
#define _POSIX_C_SOURCE 200809L

#include <curl/curl.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "sectag_provisioning.h"

#define SETTINGS_MAX 8

struct setting {
	char key[64];
	char value[64];
	size_t len;
};

/* The `user` of all callbacks. */
struct program {
	const char *url;
	const char *ca_file;
	int modem;
	/* A device keeps them in flash. */
	struct setting settings[SETTINGS_MAX];
};

/* ------------------------------------------------------------------ HTTPS */

static size_t take_body(char *data, size_t size, size_t count, void *user)
{
	struct sectag_answer *answer = user;
	size_t len = size * count;

	if (len > answer->body_size - answer->body_len) {
		return 0; /* CURLE_WRITE_ERROR */
	}
	memcpy(answer->body + answer->body_len, data, len);
	answer->body_len += len;
	return len;
}

static size_t take_header(char *data, size_t size, size_t count, void *user)
{
	static const char name[] = "retry-after:";
	struct sectag_answer *answer = user;
	size_t len = size * count;
	char value[16] = "";

	if (len > sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0) {
		len -= sizeof(name) - 1;
		memcpy(value, data + sizeof(name) - 1, len < sizeof(value) ? len : sizeof(value) - 1);
		answer->retry_after_s = strtol(value, NULL, 10);
	}
	return size * count;
}

static int code_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_PEER_FAILED_VERIFICATION:
		return -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_WRITE_ERROR:
		return -EMSGSIZE;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return -EBADMSG;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -ESHUTDOWN;
	}
}

/* Adds one header line; on failure the list is left as it was. */
static int add(struct curl_slist **headers, const char *name, const char *value)
{
	size_t size = strlen(name) + strlen(value) + 3;
	char *line = malloc(size);
	struct curl_slist *longer = NULL;

	if (line != NULL) {
		snprintf(line, size, "%s: %s", name, value);
		longer = curl_slist_append(*headers, line);
		memset(line, 0, size);
		free(line);
	}
	if (longer == NULL) {
		return -ENOMEM;
	}
	*headers = longer;
	return 0;
}

/* Both callbacks, `fetch` and `report`: a connection per request, as the firmware does it. */
static int exchange(void *user, const struct sectag_request *request, struct sectag_answer *answer)
{
	const struct program *program = user;
	struct curl_slist *headers = NULL;
	CURL *curl = curl_easy_init();
	char url[1024];
	long status = 0;
	int err = -ENOMEM;

	if (curl == NULL ||
	    add(&headers, "Authorization", request->authorization) != 0 ||
	    add(&headers, "Accept", request->accept) != 0 ||
	    add(&headers, "Content-Type", request->content_type) != 0 ||
	    add(&headers, "Connection", "close") != 0) {
		goto end;
	}
	if (snprintf(url, sizeof(url), "%s%s", program->url, request->target) >= (int)sizeof(url)) {
		err = -EMSGSIZE;
		goto end;
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CAINFO, program->ca_file);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 30000L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
	if (request->body != NULL) {
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)request->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
	}
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);

	err = code_of(curl_easy_perform(curl));
	if (err == 0) {
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
		answer->status = (int)status;
	}
end:
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return err;
}

/* ------------------------------------------------------------------ AT */

static int starts(const char *line, size_t len, const char *start)
{
	return len >= strlen(start) && memcmp(line, start, strlen(start)) == 0;
}

static int is_final(const char *line, size_t len)
{
	return (len == 4 && memcmp(line, "OK\r\n", 4) == 0) ||
	       (len == 7 && memcmp(line, "ERROR\r\n", 7) == 0) ||
	       starts(line, len, "+CME ERROR:") || starts(line, len, "+CMS ERROR:");
}

/* Notifications may stand between lines; those that matter here are passed on, none belongs to an answer. */
static int is_notification(const char *line, size_t len)
{
	if (starts(line, len, "+CGEV: ME PDN ACT 0")) {
		sectag_network(1);
	} else if (starts(line, len, "+CGEV: ME DETACH") || starts(line, len, "+CGEV: NW DETACH") ||
		   starts(line, len, "+CGEV: ME PDN DEACT 0") ||
		   starts(line, len, "+CGEV: NW PDN DEACT 0")) {
		sectag_network(0);
	}
	return starts(line, len, "+CGEV: ") || starts(line, len, "%XTIME: ");
}

static int send_all(int modem, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(modem, text, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR) {
			continue;
		}
		if (sent <= 0) {
			return -EIO;
		}
		text += sent;
		len -= (size_t)sent;
	}
	return 0;
}

/* Reads whole lines until the final one. A line break inside quotes is data. */
static int at_line(void *user, const char *line, char *answer, size_t size)
{
	const struct program *program = user;
	size_t len = 0, begin = 0;
	int quoted = 0;

	if (send_all(program->modem, line, strlen(line)) != 0 ||
	    send_all(program->modem, "\r\n", 2) != 0) {
		return -EIO;
	}
	for (;;) {
		ssize_t got;

		if (len == size) {
			return -E2BIG;
		}
		got = recv(program->modem, answer + len, 1, 0);
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			return -ETIMEDOUT;
		}
		if (got <= 0) {
			return -EIO;
		}
		if (answer[len] == '"') {
			quoted = !quoted;
		}
		len++;
		if (quoted || answer[len - 1] != '\n') {
			continue;
		}
		if (is_final(answer + begin, len - begin)) {
			return (int)len;
		}
		if (is_notification(answer + begin, len - begin)) {
			len = begin;
		}
		begin = len;
	}
}

static int connect_modem(const char *host, const char *port)
{
	struct addrinfo hints = { 0 }, *found, *at;
	struct timeval patience = { 60, 0 };
	int modem = -1;

	hints.ai_socktype = SOCK_STREAM;
	if (getaddrinfo(host, port, &hints, &found) != 0) {
		return -1;
	}
	for (at = found; at != NULL && modem < 0; at = at->ai_next) {
		modem = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
		if (modem >= 0 && connect(modem, at->ai_addr, at->ai_addrlen) != 0) {
			close(modem);
			modem = -1;
		}
	}
	freeaddrinfo(found);
	if (modem >= 0) {
		setsockopt(modem, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	}
	return modem;
}

/* ------------------------------------------------------------------ settings and log */

static int load(void *user, const char *key, char *value, size_t size)
{
	const struct program *program = user;

	for (size_t i = 0; i < SETTINGS_MAX; i++) {
		const struct setting *setting = &program->settings[i];

		if (setting->key[0] != '\0' && strcmp(setting->key, key) == 0) {
			if (setting->len > size) {
				return -ENOMEM;
			}
			memcpy(value, setting->value, setting->len);
			return (int)setting->len;
		}
	}
	return -ENOENT;
}

static int save(void *user, const char *key, const char *value, size_t len)
{
	struct program *program = user;

	if (strlen(key) >= sizeof(program->settings[0].key)) {
		return -ENAMETOOLONG;
	}
	for (size_t i = 0; i < SETTINGS_MAX && len <= sizeof(program->settings[0].value); i++) {
		struct setting *setting = &program->settings[i];

		if (setting->key[0] == '\0' || strcmp(setting->key, key) == 0) {
			strcpy(setting->key, key);
			memcpy(setting->value, value, len);
			setting->len = len;
			printf("setting %s=%.*s\n", key, (int)len, value);
			return 0;
		}
	}
	return -ENOMEM;
}

static void say(void *user, const char *text)
{
	(void)user;
	fprintf(stderr, "sectag: %s\n", text);
}

/* ------------------------------------------------------------------ events */

static void on_event(const struct nrf_provisioning_callback_data *event)
{
	static const char *const names[] = {
		[NRF_PROVISIONING_EVENT_START] = "START",
		[NRF_PROVISIONING_EVENT_STOP] = "STOP",
		[NRF_PROVISIONING_EVENT_DONE] = "DONE",
		[NRF_PROVISIONING_EVENT_FAILED] = "FAILED",
		[NRF_PROVISIONING_EVENT_NO_COMMANDS] = "NO_COMMANDS",
		[NRF_PROVISIONING_EVENT_FAILED_TOO_MANY_COMMANDS] = "FAILED_TOO_MANY_COMMANDS",
		[NRF_PROVISIONING_EVENT_FAILED_DEVICE_NOT_CLAIMED] = "FAILED_DEVICE_NOT_CLAIMED",
		[NRF_PROVISIONING_EVENT_FAILED_WRONG_ROOT_CA] = "FAILED_WRONG_ROOT_CA",
		[NRF_PROVISIONING_EVENT_FAILED_NO_VALID_DATETIME] = "FAILED_NO_VALID_DATETIME",
		[NRF_PROVISIONING_EVENT_NEED_LTE_DEACTIVATED] = "NEED_LTE_DEACTIVATED",
		[NRF_PROVISIONING_EVENT_NEED_LTE_ACTIVATED] = "NEED_LTE_ACTIVATED",
		[NRF_PROVISIONING_EVENT_SCHEDULED_PROVISIONING] = "SCHEDULED_PROVISIONING",
		[NRF_PROVISIONING_EVENT_FATAL_ERROR] = "FATAL_ERROR",
	};

	printf("event %s\n", names[event->type]);
	if (event->type == NRF_PROVISIONING_EVENT_FAILED_DEVICE_NOT_CLAIMED) {
		printf("token %.*s.%.*s\n", (int)event->token->attest_sz, event->token->attest,
		       (int)event->token->cose_sz, event->token->cose);
	}
	fflush(stdout);
}

/* ------------------------------------------------------------------ the program */

static int provision(struct program *program)
{
	struct sectag_config config;
	struct sectag_carrier carrier;
	int result = 0;
	int err;

	sectag_config_init(&config);
	config.radio_rest_ms = 0; /* the modem on the desk needs no rest after it attached */

	sectag_carrier_init(&carrier);
	carrier.user = program;
	carrier.fetch = exchange;
	carrier.report = exchange;
	carrier.at_line = at_line;
	carrier.load = load;
	carrier.save = save;
	carrier.log = say;

	err = sectag_configure(&config, &carrier);
	if (err == 0) {
		err = nrf_provisioning_init(on_event);
	}
	if (err == 0) {
		err = nrf_provisioning_trigger_manually();
	}
	if (err == 0) {
		err = sectag_run(SECTAG_FOREVER, &result);
	}
	sectag_release();
	if (err != 0) {
		fprintf(stderr, "provision: %s\n", strerror(-err));
		return 2;
	}
	printf("result %d\n", result);
	return result == 1 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct program program = { 0 };
	int code = 2;

	if (argc != 5) {
		fprintf(stderr, "usage: provision https://HOST:PORT CA.pem MODEM-HOST MODEM-PORT\n");
		return 2;
	}
	program.url = argv[1];
	program.ca_file = argv[2];
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
		return 2;
	}
	program.modem = connect_modem(argv[3], argv[4]);
	if (program.modem < 0) {
		fprintf(stderr, "provision: no modem at %s:%s\n", argv[3], argv[4]);
	} else {
		code = provision(&program);
		close(program.modem);
	}
	curl_global_cleanup();
	return code;
}
