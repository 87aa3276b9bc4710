/* DPDK's inline functions as functions with a symbol, under the prefix qpmux_, and a view of a
 * frame's buffer that does not depend on how a release of DPDK lays its structures out. */
#ifndef QPMUX_DPDK_SHIM_H
#define QPMUX_DPDK_SHIM_H

#include <stdint.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mempool.h>
#include <rte_version.h>

/* A frame in its buffer. */
struct qpmux_frame {
	struct rte_mbuf *mbuf;
	/* What the driver noted as the time of receipt, in its own unit, if it did: see `timed`. */
	uint64_t timestamp;
	/* Bytes of the frame, which may be spread over more buffers. */
	uint32_t len;
	/* Where the frame starts in the buffer. */
	uint16_t start;
	/* Whether the frame is all in this buffer, which is its own and has no other owner. */
	uint16_t whole;
	uint16_t timed;
};

/* A frame to be sent. */
struct qpmux_outgoing {
	struct rte_mbuf *mbuf;
	uint32_t len;
	/* Where it starts in its buffer. */
	uint16_t start;
};

/* Where receive times are: see rte_mbuf_dyn_rx_timestamp_register. */
struct qpmux_timestamps {
	int offset;
	uint64_t flag;
};

uint16_t qpmux_rx_burst(uint16_t port, uint16_t queue, struct qpmux_timestamps timestamps,
			struct qpmux_frame *frames, uint16_t most);
/* The frames are set to what their start and len say now, and ask for no offload. Says how many
 * were taken. */
uint16_t qpmux_tx_burst(uint16_t port, uint16_t queue, const struct qpmux_outgoing *frames,
			uint16_t many);

/* A free buffer of the pool, with no frame in it yet; its mbuf is NULL if there is none. */
struct qpmux_frame qpmux_alloc(struct rte_mempool *pool);
/* The bytes of a frame, however many buffers they are spread over, in a buffer of the pool. Its mbuf
 * is NULL if there is none, or if it is too short. */
struct qpmux_frame qpmux_copy(struct rte_mempool *pool, const struct rte_mbuf *from);
void qpmux_free(struct rte_mbuf *frame);
/* Adds to the number of owners, and says how many there are then. */
uint16_t qpmux_add_owners(struct rte_mbuf *frame, int16_t more);
uint16_t qpmux_owners(const struct rte_mbuf *frame);

/* Which of a packet's addresses say to which queue it comes. */
enum qpmux_spread {
	QPMUX_SPREAD_NONE,
	QPMUX_SPREAD_DESTINATION,
	QPMUX_SPREAD_SOURCE,
	QPMUX_SPREAD_BOTH,
};

/* rte_eth_dev_configure with so many queues each way and this MTU (0: the driver's own). Packets are
 * spread over the queues by the hash of their IP addresses, as far as the port can: `spread` is set
 * to what it does. */
int qpmux_configure(uint16_t port, uint16_t queues, uint32_t mtu, enum qpmux_spread *spread);

/* IP addresses of one side of packets: those that are `address` where `mask` has ones. */
struct qpmux_subnet {
	uint8_t address[16];
	uint8_t mask[16];
	uint8_t is_ipv6;
	/* Of the packets' sources; else of their destinations. */
	uint8_t is_source;
	/* Only its RoCEv2 packets. */
	uint8_t only_rocev2;
};

/* Has the port bring packets from or to a subnet to a queue. Negative: it does not, and rte_errno
 * says why. */
int qpmux_bring(uint16_t port, const struct qpmux_subnet *subnet, uint16_t queue);

/*
 * Has a port that is not configured yet take in only what rules bring. A negative error code if
 * its driver cannot.
 */
int qpmux_isolate(uint16_t port);

int qpmux_errno(void);

#endif
