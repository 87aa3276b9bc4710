// The closed loop of `qpmux bench events` (64 clients, one server) on ns-3's core: events per
// second of processor time, with two of its schedulers. For Debian's libns3-dev:
//
//     g++ -O2 -I/usr/include/ns3.37 -I/usr/include ns3_closed_loop.cc -lns3-core -o loop && ./loop

#include <cstdint>
#include <cstdio>
#include <ctime>

#include "ns3/core-module.h"

namespace {

const uint64_t WIRE_NS = 850, SERVICE_NS = 8, SPREAD_NS = 64, CLIENTS = 64, EVENTS = 3000000;
uint64_t dice, events, free_at, sum;

uint64_t Below(uint64_t end) {
    uint64_t x = dice += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return (x ^ (x >> 31)) % end;
}

void Arrives(uint32_t client);

void IsAnswered(uint32_t client) {
    sum ^= client;
    ns3::Simulator::Schedule(ns3::NanoSeconds(WIRE_NS + Below(SPREAD_NS)), &Arrives, client);
}

void IsDone(uint32_t client) {
    ns3::Simulator::Schedule(ns3::NanoSeconds(WIRE_NS), &IsAnswered, client);
    if ((events += 3) >= EVENTS) {
        ns3::Simulator::Stop();
    }
}

void Arrives(uint32_t client) {
    uint64_t now = ns3::Simulator::Now().GetNanoSeconds();
    free_at = (free_at > now ? free_at : now) + SERVICE_NS;
    ns3::Simulator::Schedule(ns3::NanoSeconds(free_at - now), &IsDone, client);
}

double Seconds() {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

void Measure(const char* scheduler) {
    ns3::ObjectFactory factory;
    factory.SetTypeId(scheduler);
    ns3::Simulator::SetScheduler(factory);
    dice = 1, events = free_at = 0;
    for (uint32_t client = 0; client < CLIENTS; client++) {
        ns3::Simulator::Schedule(ns3::NanoSeconds(Below(WIRE_NS)), &Arrives, client);
    }
    double begin = Seconds();
    ns3::Simulator::Run();
    double spent = Seconds() - begin;
    std::printf("%-28s %6.2f M/s\n", scheduler, ns3::Simulator::GetEventCount() / spent / 1e6);
    ns3::Simulator::Destroy();
}

}  // namespace

int main() {
    for (int round = 0; round < 5; round++) {
        Measure("ns3::MapScheduler");
        Measure("ns3::PriorityQueueScheduler");
    }
}
