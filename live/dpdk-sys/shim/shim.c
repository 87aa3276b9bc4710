#include <string.h>

#include "shim.h"

#define BURST_MAX 64

static struct qpmux_frame view(struct rte_mbuf *mbuf, struct qpmux_timestamps timestamps)
{
	struct qpmux_frame frame = {
		.mbuf = mbuf,
		.buffer = mbuf->buf_addr,
		.len = mbuf->pkt_len,
		.buffer_len = mbuf->buf_len,
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

uint16_t qpmux_tx_burst(uint16_t port, uint16_t queue, const struct qpmux_frame *frames,
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

	if (copy.mbuf == NULL)
		return copy;
	if (from->pkt_len > rte_pktmbuf_tailroom(copy.mbuf)) {
		rte_pktmbuf_free(copy.mbuf);
		copy.mbuf = NULL;
		return copy;
	}
	copy.len = from->pkt_len;
	bytes = rte_pktmbuf_read(from, 0, copy.len, copy.buffer + copy.start);
	if (bytes != NULL && bytes != copy.buffer + copy.start)
		memcpy(copy.buffer + copy.start, bytes, copy.len);
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

int qpmux_errno(void)
{
	return rte_errno;
}
