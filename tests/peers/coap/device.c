/* A device on Debian's libcoap: authenticates, fetches and reports in one DTLS session, with blocks of 256 bytes both ways.
 *
 *   device PORT CA-FILE SERVER-NAME JWT-FILE
 *
 * What it saw goes to standard output, one fact a line. It carries and executes nothing: a batch is printed as hex, and the
 * report for it is read from standard input as hex. It ends with 0 when the service has nothing more for it.
 */
#include <arpa/inet.h>
#include <coap3/coap.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

enum {
    BLOCK_SZX = 4, /* 256 bytes, RFC 7959 */
    BODY_MAX = 8192,
    ANSWER_MS = 10000,
    ROUNDS_MAX = 8,
};

/* The answer being waited for. */
static struct {
    int here;
    coap_pdu_code_t code;
    uint32_t max_age;
    size_t length;
    uint8_t body[BODY_MAX];
} answer;

static int handshakes;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("device: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* libcoap shows every message at its debug level; what interests is which block options travelled. */
static void on_log(coap_log_t level, const char *message) {
    const char *block = strstr(message, "Block1:");
    if (!block) block = strstr(message, "Block2:");
    const char *code = strstr(message, " c:");
    if (level == LOG_DEBUG && block && code)
        printf("%.*s %.*s\n", (int)strcspn(code + 3, " "), code + 3, (int)strcspn(block, ", ]"), block);
    else if (level <= LOG_WARNING)
        fputs(message, stderr);
}

static int on_event(coap_session_t *session, const coap_event_t event) {
    (void)session;
    if (event == COAP_EVENT_DTLS_CONNECTED) printf("handshake %d\n", ++handshakes);
    if (event == COAP_EVENT_DTLS_ERROR) fail("the DTLS session failed");
    return 0;
}

/* Is it the server's name, and did the library find nothing wrong with the chain? */
static int on_name(const char *name, const uint8_t *der, size_t length, coap_session_t *session, unsigned depth,
                   int validated, void *expected) {
    (void)der;
    (void)length;
    (void)session;
    if (depth == 0) {
        printf("server %s %s\n", name, validated ? "verified" : "not verified");
        return validated && strcasecmp(name, expected) == 0;
    }
    return validated;
}

static coap_response_t on_response(coap_session_t *session, const coap_pdu_t *sent, const coap_pdu_t *received,
                                   const coap_mid_t mid) {
    (void)session;
    (void)sent;
    (void)mid;
    size_t length = 0, offset = 0, total = 0;
    const uint8_t *data = NULL;
    coap_opt_iterator_t iterator;
    coap_get_data_large(received, &length, &data, &offset, &total);
    if (offset != 0 || length != total || length > BODY_MAX) fail("a body of %zu bytes came in parts", total);
    const coap_opt_t *max_age = coap_check_option(received, COAP_OPTION_MAXAGE, &iterator);
    answer.code = coap_pdu_get_code(received);
    answer.max_age = max_age ? coap_decode_var_bytes(coap_opt_value(max_age), coap_opt_length(max_age)) : 0;
    answer.length = length;
    if (length > 0) memcpy(answer.body, data, length);
    answer.here = 1;
    return COAP_RESPONSE_OK;
}

static void on_nack(coap_session_t *session, const coap_pdu_t *sent, const coap_nack_reason_t reason, const coap_mid_t mid) {
    (void)session;
    (void)sent;
    (void)mid;
    fail("a request got no answer, reason %d", (int)reason);
}

static void option(coap_optlist_t **list, uint16_t number, size_t length, const void *value) {
    coap_insert_optlist(list, coap_new_optlist(number, length, value));
}

static void number_option(coap_optlist_t **list, uint16_t number, unsigned value) {
    uint8_t bytes[4];
    option(list, number, coap_encode_var_safe(bytes, sizeof bytes, value), bytes);
}

/* One confirmable request; waits for its answer. `queries` is a list that ends in NULL. */
static coap_pdu_code_t request(coap_session_t *session, coap_pdu_code_t method, const char *path, const char *const *queries,
                               const uint8_t *body, size_t length) {
    coap_optlist_t *options = NULL;
    uint8_t token[8];
    size_t token_length;
    option(&options, COAP_OPTION_URI_PATH, 1, "p");
    option(&options, COAP_OPTION_URI_PATH, strlen(path), path);
    for (; queries && *queries; queries++) option(&options, COAP_OPTION_URI_QUERY, strlen(*queries), *queries);
    if (body) {
        number_option(&options, COAP_OPTION_CONTENT_FORMAT, 60);
        number_option(&options, COAP_OPTION_BLOCK1, (length > (1u << (BLOCK_SZX + 4)) ? 8 : 0) | BLOCK_SZX);
    } else {
        number_option(&options, COAP_OPTION_BLOCK2, BLOCK_SZX);
    }
    coap_pdu_t *pdu = coap_new_pdu(COAP_MESSAGE_CON, method, session);
    coap_session_new_token(session, &token_length, token);
    if (!pdu || !coap_add_token(pdu, token_length, token) || !coap_add_optlist_pdu(pdu, &options) ||
        (body && !coap_add_data_large_request(session, pdu, length, body, NULL, NULL)))
        fail("no room for a request to p/%s", path);
    coap_delete_optlist(options);
    answer.here = 0;
    if (coap_send(session, pdu) == COAP_INVALID_MID) fail("p/%s could not be sent", path);
    for (int waited = 0; !answer.here;) {
        int spent = coap_io_process(coap_session_get_context(session), 500);
        if (spent < 0 || (waited += spent) > ANSWER_MS) fail("no answer from p/%s", path);
    }
    printf("p/%s %u.%02u %zu bytes\n", path, answer.code >> 5, answer.code & 31u, answer.length);
    return answer.code;
}

static coap_session_t *connect_to(coap_context_t *context, const char *port, char *name) {
    coap_address_t server;
    coap_address_init(&server);
    server.addr.sin.sin_family = AF_INET;
    server.addr.sin.sin_port = htons((uint16_t)atoi(port));
    server.addr.sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.size = sizeof server.addr.sin;
    coap_dtls_pki_t pki = {
        .version = COAP_DTLS_PKI_SETUP_VERSION,
        .verify_peer_cert = 1,
        .cert_chain_validation = 1,
        .cert_chain_verify_depth = 3,
        .allow_no_crl = 1,
        .validate_cn_call_back = on_name,
        .cn_call_back_arg = name,
        .client_sni = name,
        .pki_key.key_type = COAP_PKI_KEY_PEM,
    };
    coap_session_t *session = coap_new_client_session_pki(context, NULL, &server, COAP_PROTO_DTLS, &pki);
    if (!session) fail("no session to port %s", port);
    return session;
}

static size_t read_report(uint8_t *report) {
    static char line[2 * BODY_MAX + 2];
    if (!fgets(line, sizeof line, stdin)) fail("nobody gave a report");
    size_t length = strcspn(line, "\n") / 2;
    for (size_t index = 0; index < length; index++) {
        unsigned byte;
        if (sscanf(line + 2 * index, "%2x", &byte) != 1) fail("a report is written in hex");
        report[index] = (uint8_t)byte;
    }
    return length;
}

int main(int count, char **words) {
    if (count != 5) fail("usage: device PORT CA-FILE SERVER-NAME JWT-FILE");
    setvbuf(stdout, NULL, _IOLBF, 0);
    static uint8_t jwt[BODY_MAX], report[BODY_MAX];
    FILE *file = fopen(words[4], "rb");
    size_t jwt_length = file ? fread(jwt, 1, sizeof jwt, file) : 0;
    if (jwt_length == 0) fail("no token in %s", words[4]);
    fclose(file);

    coap_startup();
    coap_set_log_handler(on_log);
    coap_set_log_level(LOG_DEBUG);
    coap_set_show_pdu_output(0);
    coap_dtls_set_log_level(LOG_WARNING);
    coap_context_t *context = coap_new_context(NULL);
    if (!context || !coap_context_set_pki_root_cas(context, words[2], NULL)) fail("no context with the authority in %s", words[2]);
    coap_context_set_block_mode(context, COAP_BLOCK_USE_LIBCOAP | COAP_BLOCK_SINGLE_BODY);
    coap_register_event_handler(context, on_event);
    coap_register_response_handler(context, on_response);
    coap_register_nack_handler(context, on_nack);
    coap_session_t *session = connect_to(context, words[1], words[3]);

    const char *versions[] = {"mver=mfw_nrf91x1_2.0.2", "cver=3.1.0", NULL};
    const char *fetch[] = {"after=", "rxMaxSize=4096", "txMaxSize=4096", "limit=10", NULL};
    if (request(session, COAP_REQUEST_CODE_GET, "cmd", fetch, NULL, 0) == COAP_RESPONSE_CODE_CONTENT) fail("p/cmd opened without a token");
    if (request(session, COAP_REQUEST_CODE_POST, "auth-jwt", versions, jwt, jwt_length) != COAP_RESPONSE_CODE_CREATED) fail("not admitted");
    printf("admitted for %u s\n", (unsigned)answer.max_age);
    for (int round = 0; round < ROUNDS_MAX; round++) {
        static char after[64] = "after=";
        fetch[0] = after;
        if (request(session, COAP_REQUEST_CODE_GET, "cmd", fetch, NULL, 0) != COAP_RESPONSE_CODE_CONTENT) fail("no commands");
        if (answer.length == 0) {
            printf("done in %d session\n", handshakes);
            coap_session_release(session);
            coap_free_context(context);
            coap_cleanup();
            return 0;
        }
        fputs("batch ", stdout);
        for (size_t index = 0; index < answer.length; index++) printf("%02x", answer.body[index]);
        putchar('\n');
        /* The last command's correlation id, then the report. */
        if (!fgets(after + 6, sizeof after - 6, stdin)) fail("nobody gave an `after`");
        after[strcspn(after, "\n")] = 0;
        size_t length = read_report(report);
        if (request(session, COAP_REQUEST_CODE_POST, "rsp", NULL, report, length) != COAP_RESPONSE_CODE_CHANGED) fail("the report was refused");
    }
    fail("the service keeps this device looping");
}
