/* kv: a key-value store over one-sided RDMA that proves what its network did.
 *
 *   kv server -k KEYS -c CONNECTIONS -o OPERATIONS [-p PORT]
 *   kv client -a ADDRESS -k KEYS -t THREADS -o OPERATIONS [-p PORT] [-w WRITE_PERCENT]
 *             [-z ZIPF_EXPONENT] [-T QP_TIMEOUT] [-m PATH_MTU] [-s SEED] [-P] [-F]
 *
 * The server only lends memory. Each client thread has a reliable connection of its own and
 * performs OPERATIONS updates and reads on keys of a Zipf distribution:
 *
 *   update  WRITE a new record of 1,024 bytes, which begins with its key, to a slot that nobody
 *           else uses; then COMPARE_SWAP the key's head word from the slot it was last known to
 *           name to the new one. A swap that comes too late is tried again behind the winner.
 *           With -P the swap is sent before the write is acknowledged.
 *   read    READ the record that the head is known to name; every fourth time the head first.
 *   count   with -F, FETCH_ADD of a counter after every update.
 *
 * Every byte of a record follows from its key, slot, predecessor and writer, so each read is
 * checked whole. No slot is used twice, so at the end the server can tell everything: from each
 * head a chain of predecessors leads back to the key's first record, and all chains together
 * must hold each update that a client was told of exactly once, under its own key, and nothing
 * else. The counter must be the number of additions, and the values that were returned must be
 * 0, 1, 2, ... in some order (compared by sum and sum of squares).
 *
 * Linux soft-RoCE may complete an atomic or a READ on a plain ACK with the right sequence number,
 * without its data ("ghost"). Result buffers therefore hold a mark beforehand. A read that left
 * it is repeated, a swap is settled by looking for the record in the chain; ghosts are counted
 * and are no error.
 *
 * Connections are set up over TCP. Exit status: 0 proved, 1 wrong, 2 could not run to the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <infiniband/verbs.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RECORD = 1024, FILL = RECORD / 8 - 4, PAGE = 4096, DEPTH = 16 };
static const uint64_t MARK = 0xd1edd1edd1edd1edull; /* no key, slot or counter is this */
static const uint64_t FIRST_KEY = 0x6b65790000000000ull; /* recognisable in a capture */

struct record {
	uint64_t key, slot, before, writer;
	uint64_t fill[FILL];
};
_Static_assert(sizeof(struct record) == RECORD, "a record has a fixed size");

/* One end of a connection, as told to the other. */
struct end {
	union ibv_gid gid;
	uint32_t qpn, psn, rkey, connection;
	uint64_t memory;
};
/* What a client thread found. */
struct tally {
	uint64_t updates, reads, late, ghosts, bad_reads, adds, add_ghosts, sum, squares;
};

static struct options {
	const char *address;
	int keys, connections, threads, operations, port, writes, timeout, mtu;
	int pipelined, count;
	double zipf;
	uint64_t seed;
} opt = { .address = "127.0.0.1", .keys = 64, .connections = 1, .threads = 8, .operations = 100,
	  .port = 7471, .writes = 50, .timeout = 18, .mtu = 1024, .zipf = 0.99, .seed = 1 };

static struct ibv_context *device;
static struct ibv_pd *domain;
static union ibv_gid gid;
static int gid_index;

#define NEED(condition, what)                                                                   \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "kv: %s: %s (line %d)\n", what, strerror(errno), __LINE__); \
			exit(2);                                                                \
		}                                                                               \
	} while (0)

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xe9846af9b1a615dull;
	x ^= x >> 32;
	x *= 0xe9846af9b1a615dull;
	return x ^ x >> 28;
}
static uint64_t draw(uint64_t *state)
{
	return mix(*state += 0x9e3779b97f4a7c15ull);
}

/* ---- memory at the server: heads, the counter on a page of its own, records ---- */

static size_t counter_at(void) { return ((size_t)opt.keys * 8 + PAGE - 1) / PAGE * PAGE; }
static size_t record_at(uint64_t slot) { return counter_at() + PAGE + slot * RECORD; }
static uint64_t slots(int connections)
{
	return (uint64_t)opt.keys + (uint64_t)connections * opt.operations;
}

static uint64_t fill_word(const struct record *r, int i)
{
	return mix(r->key ^ mix(r->slot ^ mix(r->before ^ mix(r->writer + i))));
}
static void seal(struct record *r)
{
	for (int i = 0; i < FILL; i++)
		r->fill[i] = fill_word(r, i);
}
static int is_record(const struct record *r, int key, uint64_t slot)
{
	if (r->key != FIRST_KEY + key || r->slot != slot)
		return 0;
	for (int i = 0; i < FILL; i++)
		if (r->fill[i] != fill_word(r, i))
			return 0;
	return 1;
}

/* ---- verbs ---- */

static void open_device(void)
{
	int count = 0;
	struct ibv_device **list = ibv_get_device_list(&count);
	static const uint8_t ipv4[12] = { [10] = 0xff, [11] = 0xff };
	NEED(list && count > 0, "no RDMA device");
	NEED((device = ibv_open_device(list[0])) != NULL, "open the device");
	NEED((domain = ibv_alloc_pd(device)) != NULL, "allocate a protection domain");
	for (gid_index = 0; !ibv_query_gid(device, 1, gid_index, &gid); gid_index++)
		if (!memcmp(gid.raw, ipv4, sizeof ipv4))
			return;
	NEED(0, "no GID with an IPv4 address");
}

static struct ibv_qp *make_qp(struct ibv_cq *cq)
{
	struct ibv_qp_init_attr init = {
		.send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = DEPTH, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
	};
	struct ibv_qp *qp = ibv_create_qp(domain, &init);
	NEED(qp, "create a queue pair");
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT, .port_num = 1,
		.qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE |
				   IBV_ACCESS_REMOTE_ATOMIC,
	};
	int mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
	NEED(!ibv_modify_qp(qp, &attr, mask), "queue pair to INIT");
	return qp;
}

static void join_qp(struct ibv_qp *qp, const struct end *me, const struct end *peer)
{
	enum ibv_mtu mtu = IBV_MTU_256;
	while (mtu < IBV_MTU_4096 && 128 << (mtu + 1) <= opt.mtu)
		mtu++;
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR, .path_mtu = mtu, .dest_qp_num = peer->qpn,
		.rq_psn = peer->psn, .max_dest_rd_atomic = DEPTH, .min_rnr_timer = 12,
		.ah_attr = { .is_global = 1, .port_num = 1,
			     .grh = { .dgid = peer->gid, .hop_limit = 64, .sgid_index = gid_index } },
	};
	int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
		   IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
	NEED(!ibv_modify_qp(qp, &attr, mask), "queue pair to RTR");
	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTS, .sq_psn = me->psn, .timeout = opt.timeout,
		.retry_cnt = 7, .rnr_retry = 7, .max_rd_atomic = DEPTH,
	};
	mask = IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
	       IBV_QP_MAX_QP_RD_ATOMIC;
	NEED(!ibv_modify_qp(qp, &attr, mask), "queue pair to RTS");
}

static struct end describe(struct ibv_qp *qp, uint64_t *random)
{
	struct end end = { .gid = gid, .qpn = qp->qp_num, .psn = draw(random) & 0xffffff };
	return end;
}

static void put(int fd, const void *data, size_t len)
{
	NEED(send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len, "send on the control connection");
}
static void get(int fd, void *data, size_t len)
{
	NEED(recv(fd, data, len, MSG_WAITALL) == (ssize_t)len, "receive on the control connection");
}

/* ---- server ---- */

static int listen_on(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	NEED(!bind(fd, (struct sockaddr *)&any, sizeof any) && !listen(fd, 256), "listen");
	return fd;
}

/* Counts the updates in the chains by writer; the number of chains that are broken. */
static uint64_t walk(const char *memory, uint64_t *by_writer)
{
	const uint64_t *heads = (const void *)memory;
	uint64_t limit = slots(opt.connections), broken = 0;
	char *seen = calloc(limit, 1);
	NEED(seen, "memory");
	for (int key = 0; key < opt.keys; key++) {
		uint64_t slot = heads[key];
		for (;;) {
			const struct record *r = (const void *)(memory + record_at(slot));
			if (slot >= limit || seen[slot] || !is_record(r, key, slot)) {
				fprintf(stderr, "kv: key %d: no record of its own at slot %" PRIu64 "\n",
					key, slot);
				broken++;
				break;
			}
			seen[slot] = 1;
			if (slot == (uint64_t)key)
				break; /* the first record */
			if (r->writer >= (uint64_t)opt.connections) {
				broken++;
				break;
			}
			by_writer[r->writer]++;
			slot = r->before;
		}
	}
	free(seen);
	return broken;
}

static int prove(const char *memory, const struct tally *told)
{
	uint64_t *linked = calloc(opt.connections, sizeof *linked), wrong = 0, found = 0;
	NEED(linked, "memory");
	struct tally all = { 0 };
	uint64_t broken = walk(memory, linked);
	for (int i = 0; i < opt.connections; i++) {
		wrong += linked[i] != told[i].updates;
		found += linked[i];
		all.updates += told[i].updates;
		all.reads += told[i].reads;
		all.bad_reads += told[i].bad_reads;
		all.ghosts += told[i].ghosts + told[i].add_ghosts;
		all.adds += told[i].adds;
		all.add_ghosts += told[i].add_ghosts;
		all.sum += told[i].sum;
		all.squares += told[i].squares;
	}
	uint64_t counter = *(const uint64_t *)(memory + counter_at()), sum = 0, squares = 0;
	for (uint64_t i = 0; i < all.adds; i++) {
		sum += i;
		squares += i * i;
	}
	int adds_wrong = counter != all.adds ||
			 (!all.add_ghosts && (sum != all.sum || squares != all.squares));
	int good = !broken && !wrong && !adds_wrong && !all.bad_reads;
	printf("{\"verified\": %s, \"updates\": %" PRIu64 ", \"updates_found\": %" PRIu64
	       ", \"clients_wrong\": %" PRIu64 ", \"chains_broken\": %" PRIu64 ", \"reads\": %" PRIu64
	       ", \"reads_bad\": %" PRIu64 ", \"adds\": %" PRIu64 ", \"counter\": %" PRIu64
	       ", \"adds_wrong\": %d, \"ghosts\": %" PRIu64 "}\n",
	       good ? "true" : "false", all.updates, found, wrong, broken, all.reads, all.bad_reads,
	       all.adds, counter, adds_wrong, all.ghosts);
	free(linked);
	return good ? 0 : 1;
}

static int server(void)
{
	size_t len = record_at(slots(opt.connections));
	char *memory = aligned_alloc(PAGE, (len + PAGE - 1) / PAGE * PAGE);
	NEED(memory, "memory");
	memset(memory, 0, len);
	for (int key = 0; key < opt.keys; key++) {
		struct record *r = (void *)(memory + record_at(key));
		*r = (struct record){ .key = FIRST_KEY + key, .slot = key };
		seal(r);
		((uint64_t *)memory)[key] = key;
	}
	struct ibv_mr *mr = ibv_reg_mr(domain, memory, len,
				       IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ |
					       IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC);
	struct ibv_cq *cq = ibv_create_cq(device, 16, NULL, NULL, 0);
	int *fds = calloc(opt.connections, sizeof *fds), listener = listen_on(opt.port);
	struct tally *told = calloc(opt.connections, sizeof *told);
	NEED(mr && cq && fds && told, "memory for RDMA");
	for (int i = 0; i < opt.connections; i++) {
		struct end peer, me;
		NEED((fds[i] = accept(listener, NULL, NULL)) >= 0, "accept");
		get(fds[i], &peer, sizeof peer);
		struct ibv_qp *qp = make_qp(cq);
		me = describe(qp, &opt.seed);
		me.rkey = mr->rkey;
		me.connection = i;
		me.memory = (uintptr_t)memory;
		join_qp(qp, &me, &peer);
		put(fds[i], &me, sizeof me);
	}
	/* All clients, of all machines, begin together. */
	for (int i = 0; i < opt.connections; i++)
		put(fds[i], "g", 1);
	for (int i = 0; i < opt.connections; i++)
		get(fds[i], &told[i], sizeof told[i]);
	return prove(memory, told);
}

/* ---- client ---- */

struct client {
	pthread_t thread;
	struct tally tally;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	struct ibv_mr *mr;
	struct end server;
	uint64_t random, *known;
	struct record *mine, *theirs;
	volatile uint64_t *word; /* result of an atomic or of a READ of 8 bytes */
};

static double *cumulative;

static void make_zipf(void)
{
	double sum = 0;
	NEED((cumulative = calloc(opt.keys, sizeof *cumulative)), "memory");
	for (int i = 0; i < opt.keys; i++)
		cumulative[i] = sum += pow(i + 1, -opt.zipf);
	for (int i = 0; i < opt.keys; i++)
		cumulative[i] /= sum;
}
static int draw_key(struct client *c)
{
	double u = (double)(draw(&c->random) >> 11) / 9007199254740992.0;
	int low = 0, high = opt.keys - 1;
	while (low < high) {
		int middle = (low + high) / 2;
		if (cumulative[middle] <= u)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int poll_one(struct client *c)
{
	struct ibv_wc wc;
	int n = ibv_poll_cq(c->cq, 1, &wc);
	NEED(n >= 0, "poll");
	if (n && wc.status) {
		fprintf(stderr, "kv: connection %u: %s\n", c->server.connection,
			ibv_wc_status_str(wc.status));
		exit(2);
	}
	return n;
}
static void wait_one(struct client *c)
{
	struct ibv_cq *cq;
	void *context;
	while (!poll_one(c)) {
		NEED(!ibv_req_notify_cq(c->cq, 0), "arm the completion queue");
		if (poll_one(c))
			return; /* came in between */
		NEED(!ibv_get_cq_event(c->channel, &cq, &context), "wait for a completion");
		ibv_ack_cq_events(cq, 1);
	}
}

static void post(struct client *c, struct ibv_send_wr *wr, uint64_t at, volatile void *local,
		 uint32_t len)
{
	struct ibv_sge sge = { .addr = (uintptr_t)local, .length = len, .lkey = c->mr->lkey };
	struct ibv_send_wr *bad;
	wr->sg_list = &sge;
	wr->num_sge = 1;
	if (wr->opcode == IBV_WR_RDMA_READ || wr->opcode == IBV_WR_RDMA_WRITE) {
		wr->wr.rdma.remote_addr = c->server.memory + at;
		wr->wr.rdma.rkey = c->server.rkey;
	} else {
		wr->wr.atomic.remote_addr = c->server.memory + at;
		wr->wr.atomic.rkey = c->server.rkey;
	}
	NEED(!ibv_post_send(c->qp, wr, &bad), "post");
}

static void read_at(struct client *c, uint64_t at, volatile void *local, uint32_t len)
{
	for (;; c->tally.ghosts++) {
		struct ibv_send_wr wr = { .opcode = IBV_WR_RDMA_READ,
					  .send_flags = IBV_SEND_SIGNALED };
		*(volatile uint64_t *)local = MARK;
		post(c, &wr, at, local, len);
		wait_one(c);
		if (*(volatile uint64_t *)local != MARK)
			return;
	}
}
static void write_mine(struct client *c, int wait)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_RDMA_WRITE,
				  .send_flags = wait ? IBV_SEND_SIGNALED : 0 };
	post(c, &wr, record_at(c->mine->slot), c->mine, RECORD);
	if (wait)
		wait_one(c);
}
/* The value before, or MARK if the completion came without it. */
static uint64_t atomic_at(struct client *c, enum ibv_wr_opcode opcode, uint64_t at,
			  uint64_t compare_or_add, uint64_t swap)
{
	struct ibv_send_wr wr = { .opcode = opcode, .send_flags = IBV_SEND_SIGNALED };
	wr.wr.atomic.compare_add = compare_or_add;
	wr.wr.atomic.swap = swap;
	*c->word = MARK;
	post(c, &wr, at, c->word, 8);
	wait_one(c);
	return *c->word;
}

/* After a swap without an answer: is the record in its key's chain? Notes the newest head. */
static int settled(struct client *c, int key, uint64_t slot)
{
	read_at(c, 8 * (uint64_t)key, c->word, 8);
	uint64_t at = c->known[key] = *c->word;
	while (at != slot && at >= (uint64_t)opt.keys) {
		read_at(c, record_at(at), c->theirs, RECORD);
		at = c->theirs->before;
	}
	return at == slot;
}

static void update(struct client *c, uint64_t slot)
{
	int key = draw_key(c);
	for (;;) {
		uint64_t before = c->known[key];
		*c->mine = (struct record){ .key = FIRST_KEY + key, .slot = slot, .before = before,
					    .writer = c->server.connection };
		seal(c->mine);
		write_mine(c, !opt.pipelined);
		uint64_t found = atomic_at(c, IBV_WR_ATOMIC_CMP_AND_SWP, 8 * (uint64_t)key, before, slot);
		if (found == MARK) {
			c->tally.ghosts++;
			if (settled(c, key, slot))
				break;
		} else if (found == before) {
			break;
		} else {
			c->known[key] = found;
		}
		c->tally.late++;
	}
	c->known[key] = slot;
	c->tally.updates++;
}

static void look_up(struct client *c)
{
	int key = draw_key(c);
	if (draw(&c->random) % 4 == 0) {
		read_at(c, 8 * (uint64_t)key, c->word, 8);
		c->known[key] = *c->word;
	}
	read_at(c, record_at(c->known[key]), c->theirs, RECORD);
	c->tally.bad_reads += !is_record(c->theirs, key, c->known[key]);
	c->tally.reads++;
}

static void count(struct client *c)
{
	uint64_t found = atomic_at(c, IBV_WR_ATOMIC_FETCH_AND_ADD, counter_at(), 1, 0);
	c->tally.adds++;
	if (found == MARK) {
		c->tally.add_ghosts++;
	} else {
		c->tally.sum += found;
		c->tally.squares += found * found;
	}
}

static int reach(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(opt.port) };
	NEED(inet_pton(AF_INET, opt.address, &to.sin_addr) == 1, "address");
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	NEED(!connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
	return fd;
}

static void *run_client(void *argument)
{
	struct client *c = argument;
	char *buffer = aligned_alloc(PAGE, PAGE), go;
	int fd = reach();
	NEED((c->channel = ibv_create_comp_channel(device)) != NULL, "completion channel");
	NEED((c->cq = ibv_create_cq(device, 2 * DEPTH, NULL, c->channel, 0)) != NULL, "CQ");
	NEED(buffer && (c->mr = ibv_reg_mr(domain, buffer, PAGE, IBV_ACCESS_LOCAL_WRITE)), "buffer");
	c->mine = (void *)buffer;
	c->theirs = (void *)(buffer + RECORD);
	c->word = (void *)(buffer + 2 * RECORD);
	c->qp = make_qp(c->cq);
	struct end me = describe(c->qp, &c->random);
	put(fd, &me, sizeof me);
	get(fd, &c->server, sizeof c->server);
	join_qp(c->qp, &me, &c->server);
	NEED((c->known = calloc(opt.keys, sizeof *c->known)), "memory");
	for (int key = 0; key < opt.keys; key++)
		c->known[key] = key;
	get(fd, &go, 1);
	uint64_t first = (uint64_t)opt.keys + (uint64_t)c->server.connection * opt.operations;
	for (int i = 0; i < opt.operations; i++) {
		if ((int)(draw(&c->random) % 100) >= opt.writes) {
			look_up(c);
			continue;
		}
		update(c, first + i);
		if (opt.count)
			count(c);
	}
	put(fd, &c->tally, sizeof c->tally);
	close(fd);
	return NULL;
}

static int client(void)
{
	struct client *all = calloc(opt.threads, sizeof *all);
	struct timespec from, to;
	struct tally sum = { 0 };
	NEED(all, "memory");
	make_zipf();
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < opt.threads; i++) {
		all[i].random = mix(opt.seed * 65536 + i);
		NEED(!pthread_create(&all[i].thread, NULL, run_client, &all[i]), "thread");
	}
	for (int i = 0; i < opt.threads; i++) {
		pthread_join(all[i].thread, NULL);
		sum.updates += all[i].tally.updates;
		sum.reads += all[i].tally.reads;
		sum.late += all[i].tally.late;
		sum.ghosts += all[i].tally.ghosts + all[i].tally.add_ghosts;
		sum.bad_reads += all[i].tally.bad_reads;
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	double seconds = (to.tv_sec - from.tv_sec) + 1e-9 * (to.tv_nsec - from.tv_nsec);
	printf("{\"connections\": %d, \"updates\": %" PRIu64 ", \"reads\": %" PRIu64
	       ", \"late_swaps\": %" PRIu64 ", \"ghosts\": %" PRIu64 ", \"reads_bad\": %" PRIu64
	       ", \"seconds\": %.3f, \"operations_per_s\": %.0f}\n",
	       opt.threads, sum.updates, sum.reads, sum.late, sum.ghosts, sum.bad_reads, seconds,
	       opt.threads * opt.operations / seconds);
	return sum.bad_reads ? 1 : 0;
}

int main(int argc, char **argv)
{
	int is_server = argc > 1 && !strcmp(argv[1], "server");
	if (argc < 2 || (!is_server && strcmp(argv[1], "client"))) {
		fprintf(stderr, "usage: kv server|client OPTIONS, see the head of kv.c\n");
		return 2;
	}
	for (int o; (o = getopt(argc - 1, argv + 1, "a:k:c:t:o:p:w:z:T:m:s:PF")) != -1;) {
		switch (o) {
		case 'a': opt.address = optarg; break;
		case 'k': opt.keys = atoi(optarg); break;
		case 'c': opt.connections = atoi(optarg); break;
		case 't': opt.threads = atoi(optarg); break;
		case 'o': opt.operations = atoi(optarg); break;
		case 'p': opt.port = atoi(optarg); break;
		case 'w': opt.writes = atoi(optarg); break;
		case 'z': opt.zipf = atof(optarg); break;
		case 'T': opt.timeout = atoi(optarg); break;
		case 'm': opt.mtu = atoi(optarg); break;
		case 's': opt.seed = strtoull(optarg, NULL, 0); break;
		case 'P': opt.pipelined = 1; break;
		case 'F': opt.count = 1; break;
		default: return 2;
		}
	}
	open_device();
	return is_server ? server() : client();
}
