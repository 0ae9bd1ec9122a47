/**
 * Device provisioning in C: the shapes of the firmware library `nrf_provisioning`, and the machines behind it by handle.
 *
 * The library decides, the program carries. It opens no socket, reads no file and talks to no modem by itself: HTTP
 * exchanges, AT lines, settings, time and waiting are callbacks in `struct sectag_carrier`.
 *
 *     sectag_config_init, sectag_carrier_init      defaults; then fill in what the program has
 *     sectag_configure                             the one client of this process
 *     nrf_provisioning_init                        events go to this callback
 *     nrf_provisioning_trigger_manually            ask for a session
 *     sectag_run                                   do the work until a session has ended
 *
 * docs/guides/c-api.md shows it; tests/peers/capi/provision.c is a complete program.
 *
 * Rules for every function
 * - Results are 0 (or what the function says) or a negative errno value of <errno.h>, e.g. -EINVAL.
 * - A NULL that is not called optional gives -EINVAL. -EIO, where a function does not say what it means: a defect of the
 *   library itself; only free the handle then. No memory: the program ends by abort().
 * - Functions may be called from any thread and from inside callbacks, except that one thread at a time drives
 *   (`_init`, `_step`, `_run`, and `_set_interval` while it stores): a second one that tries `_init`, `_step` or `_run`
 *   gets -EBUSY, and so does a callback. Built without `std`: all calls from one thread, since there is nothing to lock
 *   with. Never from an interrupt.
 * - Freeing ends all use: no other thread may be inside a function of that handle.
 *
 * Rules for every callback
 * - Called by the thread that drives, one at a time, with the `user` pointer of its structure. Two exceptions:
 *   `uptime_ms` is called by every thread that calls a function, also while another callback runs, and may call none
 *   itself; `log` is also called by the thread that makes a client or session.
 * - What it is handed belongs to the library and is valid until it returns. What it fills in belongs to the library too.
 * - It must return: no longjmp, no C++ exception through the library.
 *
 * Strings are UTF-8 and end in NUL, unless a length stands beside them.
 */
#ifndef SECTAG_PROVISIONING_H
#define SECTAG_PROVISIONING_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ events, as in the firmware library */

/** What happened. START and STOP surround every session; exactly one result stands before STOP. */
enum nrf_provisioning_event {
	/** A session begins. */
	NRF_PROVISIONING_EVENT_START = 1,
	/** It ended; always the last one of a session. */
	NRF_PROVISIONING_EVENT_STOP = 2,
	/** Result: `finished` was executed and acknowledged. */
	NRF_PROVISIONING_EVENT_DONE = 3,
	/** Result: for another reason than those below; see `result`. */
	NRF_PROVISIONING_EVENT_FAILED = 4,
	/** Result: nothing (more) is queued. */
	NRF_PROVISIONING_EVENT_NO_COMMANDS = 5,
	/** Result: the batch or the answer is larger than the configured buffers. */
	NRF_PROVISIONING_EVENT_FAILED_TOO_MANY_COMMANDS = 6,
	/** Result: the service does not know this device; `token` is what its owner claims it with. */
	NRF_PROVISIONING_EVENT_FAILED_DEVICE_NOT_CLAIMED = 7,
	/** Result: the connection was refused, most often because the root CA is another one. */
	NRF_PROVISIONING_EVENT_FAILED_WRONG_ROOT_CA = 8,
	/** Result: the modem's clock did not become valid in time. */
	NRF_PROVISIONING_EVENT_FAILED_NO_VALID_DATETIME = 9,
	/** Credentials are to be written: LTE goes down. See `lte_by_program`. */
	NRF_PROVISIONING_EVENT_NEED_LTE_DEACTIVATED = 10,
	/** They are written: LTE comes back. See `lte_by_program`. */
	NRF_PROVISIONING_EVENT_NEED_LTE_ACTIVATED = 11,
	/** The next session begins after `next_attempt_time_seconds`. */
	NRF_PROVISIONING_EVENT_SCHEDULED_PROVISIONING = 12,
	/** The client cannot go on by itself; see `result`. */
	NRF_PROVISIONING_EVENT_FATAL_ERROR = 13
};

/** Claim token `attest.cose`. Each part ends in NUL, which its size does not count. */
struct nrf_attestation_token {
	/** First part; empty when the modem made no token. */
	char *attest;
	/** Characters of `attest`. */
	size_t attest_sz;
	/** Second part; empty when the modem made no token. */
	char *cose;
	/** Characters of `cose`. */
	size_t cose_sz;
};

/** One event. Valid until the callback returns, with everything it points to. */
struct nrf_provisioning_callback_data {
	/** What happened. */
	enum nrf_provisioning_event type;
#ifdef __GNUC__
	__extension__ /* nameless, as in the firmware; C99 would have none */
#endif
	union {
		/** FAILED_DEVICE_NOT_CLAIMED only; never NULL there. */
		struct nrf_attestation_token *token;
		/** SCHEDULED_PROVISIONING only. */
		int64_t next_attempt_time_seconds;
	};
	/** Not in the firmware: with a result event and with STOP the session's result, 1 (DONE) or a negative errno
	 *  value; with FATAL_ERROR its reason; else 0. */
	int result;
};

/** Takes the events of the process's client. */
typedef void (*nrf_provisioning_event_cb_t)(const struct nrf_provisioning_callback_data *event);

/** Takes the events of a client or session with a handle. */
typedef void (*sectag_event_fn)(void *user, const struct nrf_provisioning_callback_data *event);

/* ------------------------------------------------------------------ what the program carries */

/** One HTTP request, ready to be sent. Host, Connection and Content-Length are the program's. */
struct sectag_request {
	/** "GET" or "POST". */
	const char *method;
	/** Path and query as they belong into the request line, e.g. "/v1/provisioning/commands?after=&rxMaxSize=1024…". */
	const char *target;
	/** Value of `Authorization`: "Bearer …". A secret: keep it out of logs. */
	const char *authorization;
	/** Value of `Accept`. */
	const char *accept;
	/** Value of `Content-Type`. */
	const char *content_type;
	/** What to send; NULL for GET. */
	const uint8_t *body;
	/** Bytes of `body`. */
	size_t body_len;
};

/** Its answer, filled in by the program. */
struct sectag_answer {
	/** HTTP status; 0 on entry. */
	int status;
	/** Where the body goes; the buffer is the library's. */
	uint8_t *body;
	/** Room in `body`: `rx_bytes_max` for a fetch, 1024 bytes for a report. */
	size_t body_size;
	/** Bytes put there; 0 on entry. What does not fit: return -EMSGSIZE for a fetch, drop it for a report, where only
	 *  the status counts. */
	size_t body_len;
	/** Seconds of `Retry-After`; -1 (on entry) when there is none. */
	int64_t retry_after_s;
};

/**
 * Sends `request` over TLS with the server verified, and waits for the answer at most the 30 s that the firmware waits.
 *
 * Returns 0 when there is an answer, whatever its status, else a negative errno value:
 * -ECONNREFUSED (nobody listens, or the certificate was not accepted), -EHOSTUNREACH (name not resolved), -ETIMEDOUT,
 * -EMSGSIZE or -ENOMEM (larger than the buffer), -EBADMSG (no HTTP); any other one counts as a connection that closed.
 */
typedef int (*sectag_http_fn)(void *user, const struct sectag_request *request, struct sectag_answer *answer);

/**
 * Gives one AT line to the modem and waits for its final result line.
 *
 * `line` ends in NUL and has no terminator; it may hold line breaks inside quotes (a PEM), which are data, and it may
 * hold a private key, so keep it out of logs. Put everything the modem printed for it into `answer`, with the final
 * line; notifications that came in between are better left out. No NUL is needed; NULs at the end are ignored.
 *
 * Returns the bytes put there, or a negative errno value: -E2BIG when the answer is larger than `size`, else that no
 * whole answer came. Errors of the modem (`ERROR`, `+CME ERROR: 513`) are answers. 0 counts as -EIO.
 */
typedef int (*sectag_at_fn)(void *user, const char *line, char *answer, size_t size);

/** Everything the library needs from outside. Copied when a client or session is made. */
struct sectag_carrier {
	/** sizeof(struct sectag_carrier); set by sectag_carrier_init. */
	size_t size;
	/** Handed to each callback below; the library never looks at it. It must live as long as the handle. */
	void *user;
	/** Carries the fetch of commands (GET). */
	sectag_http_fn fetch;
	/** Carries the report of results (POST); may be the same function. */
	sectag_http_fn report;
	/** Carries AT lines, also those that sign (`AT%JWT`) and switch the radio (`AT+CFUN`). */
	sectag_at_fn at_line;

	/** Optional: reads a setting into `value`; returns its bytes, or -ENOENT. NULL: nothing was ever stored. */
	int (*load)(void *user, const char *key, char *value, size_t size);
	/** Optional: stores a setting, so that a power cut leaves the old or the new one; `value` is not NUL-terminated.
	 *  Returns 0, -ENOMEM, -EINVAL, -ENAMETOOLONG (the key), or another negative errno value.
	 *  NULL: config commands fail, and an interval cannot be set (-ENOSTR). */
	int (*save)(void *user, const char *key, const char *value, size_t len);
	/** Optional: whether a packet data network is active. NULL: what sectag_network was told last while the radio is
	 *  not in flight mode; was it told nothing, whether the functional mode is 1. */
	int (*network)(void *user);
	/** Milliseconds since some start, never going back. Optional where the library was built with `std`. */
	uint64_t (*uptime_ms)(void *user);
	/** Waits at most `ms` (SECTAG_FOREVER: without end) and may return earlier. Optional where the library was built
	 *  with `std`; then calls from other threads end the wait. If yours cannot be ended, such calls take effect when
	 *  it returns. Not needed with `_step`. */
	void (*wait)(void *user, uint32_t ms);
	/** Optional: takes one line for a log, e.g. which command failed and the modem's words. Holds no secrets. */
	void (*log)(void *user, const char *text);
};

/** Sets `size` and nothing else. */
void sectag_carrier_init(struct sectag_carrier *carrier);

/* ------------------------------------------------------------------ options */

/** Options, with the Kconfig names CONFIG_NRF_PROVISIONING_… in capitals. Copied when a client or session is made. */
struct sectag_config {
	/** sizeof(struct sectag_config); set by sectag_config_init. */
	size_t size;
	/** Sent as `mver`. NULL (default): asked from the modem (AT+CGMR). */
	const char *modem_version;
	/** Sent as `cver`. NULL (default): "3.1.0". */
	const char *client_version;
	/** SETTINGS_STORAGE_PATH. NULL (default): "provisioning". */
	const char *settings_path;
	/** RX_BUF_SZ: bytes of one answer, with status line and headers. 256 to 1048576, default 1024. */
	uint32_t rx_bytes_max;
	/** TX_BUF_SZ: bytes of one report. 64 to 1048576, default 2048. */
	uint32_t tx_bytes_max;
	/** CBOR_RECORDS: commands in one batch. 1 to 1000, default 10. */
	uint32_t records_max;
	/** CODEC_AT_CMD_LEN: bytes of an AT command; the larger of it and tx_bytes_max counts. Default 1792. */
	uint32_t at_bytes;
	/** CODEC_RX_SZ_START: bytes of the first buffer for a modem answer. 64 to 4096, default 1024. */
	uint32_t answer_bytes_start;
	/** JWT_SEC_TAG. Default 0: the identity key. */
	uint32_t jwt_sec_tag;
	/** JWT_MAX_VALID_TIME_S. 1 to 360, default 300. */
	uint32_t jwt_validity_s;
	/** VALID_DATE_TIME_TIMEOUT_SECONDS. Default 60. */
	uint32_t time_wait_s;
	/** MODEM_STATE_WAIT_TIMEOUT_SECONDS. Default 120. */
	uint32_t radio_wait_s;
	/** Rest after the network came back. Default 2000 as the firmware; 0 for a modem without a radio. */
	uint32_t radio_rest_ms;
	/** SAVE_CMD_ID: 1 saves the last command id after DONE. Default 0. */
	int save_command_id;
	/** PROVIDE_ATTESTATION_TOKEN: 1 (default) hands the claim token over when the device is not claimed. */
	int provide_attestation_token;
	/** 1: the program switches LTE on the NEED_LTE events, as with the firmware library, and the library only looks
	 *  (AT+CFUN?). Default 0: the library sends AT+CFUN=4 and AT+CFUN=1 itself. */
	int lte_by_program;
	/** 1: the firmware's conduct with its flaws (a lost report is forgotten); the other options keep their values, its
	 *  own spread_s would be 0. Default 0. */
	int faithful;

	/* Of clients only; a bare session has no schedule. */

	/** AUTO_START_ON_INIT: 1 begins in init. Default 0. */
	int auto_start;
	/** SCHEDULED: 1 comes back by itself; needs auto_start. Default 0. */
	int scheduled;
	/** INTERVAL_S. At least 1, default 86400. A stored interval counts before it. */
	uint32_t interval_s;
	/** SPREAD_S. Default 100 (firmware: 0). */
	uint32_t spread_s;
	/** INITIAL_BACKOFF. At least 1, default 60. */
	uint32_t initial_backoff_s;
	/** Unique to the device: spread and jitter come from it. Default 0: made from AT%DEVICEUUID. */
	uint64_t seed;
};

/** Sets `size` and the defaults. */
void sectag_config_init(struct sectag_config *config);

/** Without end, where milliseconds are given. */
#define SECTAG_FOREVER UINT32_MAX

/* ------------------------------------------------------------------ the library: one client per process */

/**
 * Makes the process's client; it then waits for nrf_provisioning_init. Calling it again before that replaces it.
 *
 * -EINVAL: a NULL, a size that is not this header's, a missing callback, an option out of its range (the log callback
 * is told which), or scheduled without auto_start. -EALREADY: initialised before; sectag_release first.
 */
int sectag_configure(const struct sectag_config *config, const struct sectag_carrier *carrier);

/**
 * Initialises. Asks the modem for what the options leave open, so at_line is called from here; with auto_start the
 * first session begins with the next sectag_run or sectag_step.
 *
 * -EINVAL: no callback. -EALREADY: initialised before. -EFAULT: not configured. -EIO: the modem did not say it. Else what
 * at_line returned. After each of them it may be tried again.
 */
int nrf_provisioning_init(nrf_provisioning_event_cb_t callback);

/** Asks for a session as soon as none runs. -EFAULT: not initialised. */
int nrf_provisioning_trigger_manually(void);

/**
 * Sets the interval of a scheduled client, 0: to `interval_s` of the options. A changed one is stored and the schedule
 * made anew; one that is stored already is not written again.
 *
 * -EFAULT: not initialised. -EINVAL: negative. -ENOTSUP: not scheduled. -ENOSTR: could not be stored, the old one
 * stays; while another thread or a callback drives, the log callback is told so and the result is 0.
 */
int nrf_provisioning_set_interval(int interval_s);

/**
 * Drives until a session has ended or `timeout_ms` have passed.
 *
 * 0: a session ended; `*result` (optional) is 1 for DONE, else a negative errno value: -ENODATA no commands, -EACCES
 * not claimed, -ECONNREFUSED wrong root CA, -ENOMEM too many commands, -ETIME no valid time, -EBUSY, -ETIMEDOUT …
 * (the last one's, should the event callback have triggered the next at once). Also after FATAL_ERROR, with its result.
 * A callback is not cut short when the time is over.
 * -EAGAIN: none ended in that time; call again. -EFAULT: not initialised. -EBUSY: somebody drives already. -ENOTSUP: no
 * way to wait (built without `std`, and no `wait` in the carrier).
 */
int sectag_run(uint32_t timeout_ms, int *result);

/**
 * Drives as far as it goes without waiting, for programs with a loop of their own. HTTP and AT callbacks still take
 * their time. `*wait_ms` (optional): call again after that many milliseconds at the latest, or SECTAG_FOREVER when only
 * a call from outside brings something new. -EFAULT, -EBUSY as sectag_run.
 */
int sectag_step(uint32_t *wait_ms);

/** Tells whether a packet data network is active: 1 at `+CGEV: ME PDN ACT 0`, 0 at `+CGEV: ME DETACH` and the like.
 *  Told nothing, a scheduled client takes it for active. Told 0, it asks nothing of the modem until it is told 1: tell
 *  both or none, so read notifications between sessions too. -EFAULT: not configured. */
int sectag_network(int active);

/** Forgets the process's client; everything the library allocated for it is freed. -EBUSY: somebody drives. */
int sectag_release(void);

/* ------------------------------------------------------------------ the same by handle */

/** A client; several can live in one process. */
struct sectag_client;

/** Makes a client in `*client`, NULL unless 0 is returned; results as sectag_configure. The caller frees it. */
int sectag_client_new(const struct sectag_config *config, const struct sectag_carrier *carrier,
		      struct sectag_client **client);
/** As nrf_provisioning_init; `user` goes to the callback. */
int sectag_client_init(struct sectag_client *client, sectag_event_fn callback, void *user);
/** As nrf_provisioning_trigger_manually. */
int sectag_client_trigger(struct sectag_client *client);
/** As nrf_provisioning_set_interval. */
int sectag_client_set_interval(struct sectag_client *client, int interval_s);
/** As sectag_network. */
int sectag_client_network(struct sectag_client *client, int active);
/** As sectag_run. */
int sectag_client_run(struct sectag_client *client, uint32_t timeout_ms, int *result);
/** As sectag_step. */
int sectag_client_step(struct sectag_client *client, uint32_t *wait_ms);
/** Frees it; NULL is fine. -EBUSY: somebody drives, nothing was freed. */
int sectag_client_free(struct sectag_client *client);

/* ------------------------------------------------------------------ the bare session: no schedule, no init */

/** One conversation with the service, to be run again and again. */
struct sectag_session;

/** Makes a session in `*session`, NULL unless 0 is returned; asks the modem as nrf_provisioning_init does, with the same
 *  results, and -EINVAL as sectag_configure. `callback` and `user` are optional. The options of clients are not used. The
 *  caller frees it. */
int sectag_session_new(const struct sectag_config *config, const struct sectag_carrier *carrier,
		       sectag_event_fn callback, void *user, struct sectag_session **session);
/** Begins. -EALREADY: one runs. */
int sectag_session_start(struct sectag_session *session);
/** As sectag_run; begins a session unless one runs. */
int sectag_session_run(struct sectag_session *session, uint32_t timeout_ms, int *result);
/** As sectag_step; does not begin one. */
int sectag_session_step(struct sectag_session *session, uint32_t *wait_ms);
/** As sectag_network. */
int sectag_session_network(struct sectag_session *session, int active);
/** Copies the correlation id of the last executed command into `id` with a NUL; 46 bytes are always enough. Returns its
 *  characters, 0 before the first command, -E2BIG when it does not fit. */
int sectag_session_after(struct sectag_session *session, char *id, size_t size);
/** Frees it; NULL is fine. -EBUSY: somebody drives, nothing was freed. */
int sectag_session_free(struct sectag_session *session);

#ifdef __cplusplus
}
#endif

#endif /* SECTAG_PROVISIONING_H */
