#include <string.h>

#include "shim.h"

#define BURST_MAX 64
/* IANA's port of RoCEv2 (IBTA vol. 1, annex A17). */
#define ROCEV2_PORT 4791

static struct qpmux_frame view(struct rte_mbuf *mbuf, struct qpmux_timestamps timestamps)
{
	struct qpmux_frame frame = {
		.mbuf = mbuf,
		.len = mbuf->pkt_len,
		.start = mbuf->data_off,
		.whole = mbuf->nb_segs == 1 && RTE_MBUF_DIRECT(mbuf) &&
			 rte_mbuf_refcnt_read(mbuf) == 1,
	};

	frame.timed = (mbuf->ol_flags & timestamps.flag) != 0;
	if (frame.timed)
		frame.timestamp = *RTE_MBUF_DYNFIELD(mbuf, timestamps.offset,
						     const rte_mbuf_timestamp_t *);
	return frame;
}

uint16_t qpmux_rx_burst(uint16_t port, uint16_t queue, struct qpmux_timestamps timestamps,
			struct qpmux_frame *frames, uint16_t most)
{
	struct rte_mbuf *mbufs[BURST_MAX];
	uint16_t i, many;

	many = rte_eth_rx_burst(port, queue, mbufs, RTE_MIN(most, BURST_MAX));
	for (i = 0; i < many; i++)
		frames[i] = view(mbufs[i], timestamps);
	return many;
}

uint16_t qpmux_tx_burst(uint16_t port, uint16_t queue, const struct qpmux_outgoing *frames,
			uint16_t many)
{
	struct rte_mbuf *mbufs[BURST_MAX];
	uint16_t i;

	many = RTE_MIN(many, BURST_MAX);
	for (i = 0; i < many; i++) {
		struct rte_mbuf *mbuf = frames[i].mbuf;

		mbuf->data_off = frames[i].start;
		mbuf->data_len = frames[i].len;
		mbuf->pkt_len = frames[i].len;
		mbuf->ol_flags = 0;
		mbufs[i] = mbuf;
	}
	return rte_eth_tx_burst(port, queue, mbufs, many);
}

struct qpmux_frame qpmux_alloc(struct rte_mempool *pool)
{
	const struct qpmux_timestamps none = { 0 };
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);

	return mbuf ? view(mbuf, none) : (struct qpmux_frame){ 0 };
}

struct qpmux_frame qpmux_copy(struct rte_mempool *pool, const struct rte_mbuf *from)
{
	struct qpmux_frame copy = qpmux_alloc(pool);
	const void *bytes;
	void *to;

	if (copy.mbuf == NULL)
		return copy;
	if (from->pkt_len > rte_pktmbuf_tailroom(copy.mbuf)) {
		rte_pktmbuf_free(copy.mbuf);
		copy.mbuf = NULL;
		return copy;
	}
	copy.len = from->pkt_len;
	to = rte_pktmbuf_mtod(copy.mbuf, void *);
	bytes = rte_pktmbuf_read(from, 0, copy.len, to);
	if (bytes != NULL && bytes != to)
		memcpy(to, bytes, copy.len);
	return copy;
}

void qpmux_free(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
}

uint16_t qpmux_add_owners(struct rte_mbuf *frame, int16_t more)
{
	return rte_mbuf_refcnt_update(frame, more);
}

uint16_t qpmux_owners(const struct rte_mbuf *frame)
{
	return rte_mbuf_refcnt_read(frame);
}

/* Longest key of a driver: 52 bytes, of i40e and ice. */
#define RSS_KEY_MAX 64

int qpmux_configure(uint16_t port, uint16_t queues, uint32_t mtu, enum qpmux_spread *spread)
{
	const uint64_t ip = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV4_UDP |
			    RTE_ETH_RSS_NONFRAG_IPV6_UDP;
	const uint64_t one[] = {
		[QPMUX_SPREAD_DESTINATION] = RTE_ETH_RSS_L3_DST_ONLY,
		[QPMUX_SPREAD_SOURCE] = RTE_ETH_RSS_L3_SRC_ONLY,
		[QPMUX_SPREAD_BOTH] = 0,
	};
	struct rte_eth_conf conf = { 0 };
	struct rte_eth_dev_info info;
	uint8_t key[RSS_KEY_MAX];
	uint64_t can;
	int i, result;

	result = rte_eth_dev_info_get(port, &info);
	if (result < 0)
		return result;
	if (mtu != 0)
		conf.rxmode.mtu = mtu;
	can = info.flow_type_rss_offloads & ip;
	if (queues < 2 || *spread == QPMUX_SPREAD_NONE || can == 0) {
		*spread = QPMUX_SPREAD_NONE;
		return rte_eth_dev_configure(port, queues, queues, &conf);
	}
	/* A key that repeats every 16 bits makes the hash the same for both directions. */
	for (i = 0; i < RSS_KEY_MAX; i += 2) {
		key[i] = 0x6d;
		key[i + 1] = 0x5a;
	}
	conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	if (info.hash_key_size > 0 && info.hash_key_size <= RSS_KEY_MAX) {
		conf.rx_adv_conf.rss_conf.rss_key = key;
		conf.rx_adv_conf.rss_conf.rss_key_len = info.hash_key_size;
	}
	conf.rx_adv_conf.rss_conf.rss_hf = can | one[*spread];
	result = rte_eth_dev_configure(port, queues, queues, &conf);
	if (result == 0 || one[*spread] == 0)
		return result;
	/* Not every driver can leave one of the addresses out. */
	*spread = QPMUX_SPREAD_BOTH;
	conf.rx_adv_conf.rss_conf.rss_hf = can;
	return rte_eth_dev_configure(port, queues, queues, &conf);
}

int qpmux_bring(uint16_t port, const struct qpmux_subnet *subnet, uint16_t queue)
{
	struct rte_flow_attr attr = { .ingress = 1 };
	struct rte_flow_item_ipv4 v4 = { 0 }, v4_mask = { 0 };
	struct rte_flow_item_ipv6 v6 = { 0 }, v6_mask = { 0 };
	struct rte_flow_action_queue to = { .index = queue };
	struct rte_flow_item_udp udp = { 0 }, udp_mask = { 0 };
	struct rte_flow_item pattern[] = {
		{ .type = RTE_FLOW_ITEM_TYPE_ETH },
		{ .type = RTE_FLOW_ITEM_TYPE_IPV4, .spec = &v4, .mask = &v4_mask },
		{ .type = RTE_FLOW_ITEM_TYPE_END },
		{ .type = RTE_FLOW_ITEM_TYPE_END },
	};
	struct rte_flow_action actions[] = {
		{ .type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &to },
		{ .type = RTE_FLOW_ACTION_TYPE_END },
	};
	struct rte_flow_error error;

	if (subnet->is_ipv6) {
		pattern[1].type = RTE_FLOW_ITEM_TYPE_IPV6;
		pattern[1].spec = &v6;
		pattern[1].mask = &v6_mask;
	}
	if (subnet->is_source) {
		memcpy(&v4.hdr.src_addr, subnet->address, 4);
		memcpy(&v4_mask.hdr.src_addr, subnet->mask, 4);
		memcpy(v6.hdr.src_addr, subnet->address, 16);
		memcpy(v6_mask.hdr.src_addr, subnet->mask, 16);
	} else {
		memcpy(&v4.hdr.dst_addr, subnet->address, 4);
		memcpy(&v4_mask.hdr.dst_addr, subnet->mask, 4);
		memcpy(v6.hdr.dst_addr, subnet->address, 16);
		memcpy(v6_mask.hdr.dst_addr, subnet->mask, 16);
	}
	if (subnet->only_rocev2) {
		udp.hdr.dst_port = rte_cpu_to_be_16(ROCEV2_PORT);
		udp_mask.hdr.dst_port = 0xffff;
		pattern[2].type = RTE_FLOW_ITEM_TYPE_UDP;
		pattern[2].spec = &udp;
		pattern[2].mask = &udp_mask;
	}
	/* Rules stay until the port is closed. */
	return rte_flow_create(port, &attr, pattern, actions, &error) != NULL ? 0 : -rte_errno;
}

int qpmux_isolate(uint16_t port)
{
	struct rte_flow_error error;

	return rte_flow_isolate(port, 1, &error) == 0 ? 0 : -rte_errno;
}

int qpmux_errno(void)
{
	return rte_errno;
}
