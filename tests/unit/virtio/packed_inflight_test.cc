// SPDX-License-Identifier: Apache-2.0
// The packed ring's in-flight memory: a process dies behind each store to it and to the ring, the
// next one goes on from what it left, and the driver gets each chain once.
#include "virtio/vhost_user/packed_inflight.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "core/prng.h"
#include "core/probe.h"
#include "tests/unit/virtio/packed_fixture.h"

namespace remora::test {
namespace {

using virtio::PackedQueue;
using virtio::vhost_user::InflightQueue;
using virtio::vhost_user::PackedInflight;

std::function<void()>* at_each_moment = nullptr;

/// What runs behind each store. Only builds with probes (dev and sim) have such moments.
#ifdef REMORA_PROBES
constexpr bool kHasMoments = true;
void set_moment(void (*to)()) {
    core::probe::hooks.guest_moment = to;
}
#else
constexpr bool kHasMoments = false;
void set_moment(void (* /*to*/)()) {}
#endif

class PackedInflightTest : public PackedRingTest {
  public:
    PackedInflightTest() { EXPECT_FALSE(attach().resumed); }
    ~PackedInflightTest() override { set_moment(nullptr); }

    /// A new process: it knows the base of the first start, as QEMU tells it, and the memory.
    InflightQueue::Recovery attach() {
        queue = PackedQueue{};
        inflight = PackedInflight{};
        EXPECT_TRUE(queue.start(options(true)).has_value());
        auto recovery = inflight.attach(region, queue);
        EXPECT_TRUE(recovery.has_value());
        return recovery ? *recovery : InflightQueue::Recovery{};
    }
    [[nodiscard]] bool attaches() {
        queue = PackedQueue{};
        EXPECT_TRUE(queue.start(options(true)).has_value());
        return PackedInflight{}.attach(region, queue).has_value();
    }
    void take_and_note() {
        const Heads heads = take().value_or(Heads{});
        for (const std::uint16_t head : heads) {
            inflight.taken(queue, head);
        }
    }
    void offer_and_note(std::uint16_t head, std::uint16_t length) {
        offer(head, length);
        static_cast<void>(driver.publish());
        take_and_note();
    }
    void use(std::uint16_t head) {
        queue.push_used(head, 1);
        inflight.used(head);
    }
    void publish() {
        inflight.publishing(queue);
        static_cast<void>(queue.publish());
        inflight.published();
    }
    template <typename T>
    T at(std::size_t offset) {
        T value;
        std::memcpy(&value, region.data() + offset, sizeof(value));
        return value;
    }
    template <typename T>
    void put(std::size_t offset, T value) {
        std::memcpy(region.data() + offset, &value, sizeof(value));
    }
    static constexpr std::size_t entry(std::size_t index, std::size_t field) {
        return 32 + std::size_t{32} * index + field;
    }

    alignas(64) std::array<std::byte, PackedInflight::bytes_for(kSize)> region{};
    PackedInflight inflight;
};

TEST_F(PackedInflightTest, Attach_newMemory_isMadeAsTheSpecLaysItOut) {
    EXPECT_EQ(at<std::uint16_t>(8), 1);        // version
    EXPECT_EQ(at<std::uint16_t>(10), kSize);   // desc_num
    EXPECT_EQ(at<std::uint32_t>(12), 0U);      // free_head, old_free_head
    EXPECT_EQ(at<std::uint32_t>(16), 0U);      // used_idx, old_used_idx
    EXPECT_EQ(at<std::uint16_t>(20), 0x0101);  // both wrap counters
    EXPECT_EQ(at<std::uint16_t>(entry(0, 2)), 1);
    EXPECT_EQ(at<std::uint16_t>(entry(kSize - 1, 2)), kSize);
    EXPECT_TRUE(attach().resumed);
}

TEST_F(PackedInflightTest, Taken_keepsTheDescriptorsAndTheirOrder) {
    offer_and_note(4, 3);
    EXPECT_EQ(at<std::uint8_t>(entry(0, 0)), 1);
    EXPECT_EQ(at<std::uint16_t>(entry(0, 4)), 2);  // last
    EXPECT_EQ(at<std::uint16_t>(entry(0, 6)), 3);  // num
    EXPECT_EQ(at<std::uint64_t>(entry(0, 8)), 1U);
    EXPECT_EQ(at<std::uint16_t>(entry(2, 16)), 4);  // id
    EXPECT_EQ(at<std::uint32_t>(entry(1, 20)), 1U);
    EXPECT_EQ(at<std::uint64_t>(entry(1, 24)), GuestRam::guest(kData + std::uint64_t{64} * 4 + 1));
    EXPECT_EQ(at<std::uint32_t>(12), 0x0003'0003U);
    EXPECT_EQ(at<std::uint8_t>(entry(1, 0)), 0);
}

TEST_F(PackedInflightTest, Attach_afterCrash_givesWhatIsOpenInOrder_walkable) {
    offer_and_note(6, 2);
    offer_and_note(1, 1);
    offer_and_note(4, 3);
    use(1);
    publish();
    std::ranges::fill(std::span(driver.descriptor(1), std::size_t{16} * 5), std::byte{0});
    EXPECT_EQ(attach().in_flight, (Heads{6, 4}));
    EXPECT_EQ(queue.base().used, (virtio::PackedPlace{1, true}));
    EXPECT_EQ(queue.base().available, (virtio::PackedPlace{6, true}));
    ASSERT_TRUE(walk(4));
    EXPECT_EQ(chain.writable_bytes, 3U);
    EXPECT_EQ(segments[0].data, ram.at(kData + std::uint64_t{64} * 4));
}

TEST_F(PackedInflightTest, Attach_otherSizeOrVersionOrShort_isRefused) {
    put<std::uint16_t>(10, 8);
    EXPECT_FALSE(attaches());
    put<std::uint16_t>(10, kSize);
    put<std::uint16_t>(8, 2);
    EXPECT_FALSE(attaches());
    put<std::uint16_t>(8, 1);
    EXPECT_TRUE(attaches());
    EXPECT_FALSE(inflight.attach(std::span(region).first(128), queue).has_value());
}

TEST_F(PackedInflightTest, Attach_memoryThatContradictsItself_isRefused) {
    offer_and_note(4, 2);
    offer_and_note(1, 2);
    const auto good = region;
    const auto refuses = [&](std::size_t offset, std::uint16_t value) {
        region = good;
        put(offset, value);
        return !attaches();
    };
    EXPECT_FALSE(refuses(8, 1));
    EXPECT_TRUE(refuses(16, kSize));       // used_idx
    EXPECT_TRUE(refuses(18, 0xffff));      // old_used_idx
    EXPECT_TRUE(refuses(14, 0xfff0));      // nothing is free
    EXPECT_TRUE(refuses(entry(0, 2), 2));  // one chain leads into the other
    EXPECT_TRUE(refuses(entry(0, 2), 0));  // and into itself
    EXPECT_TRUE(refuses(entry(0, 2), 999));
    EXPECT_TRUE(refuses(entry(0, 6), 0));
    EXPECT_TRUE(refuses(entry(0, 6), 7));
    EXPECT_TRUE(refuses(entry(1, 16), kSize));  // an id past the ring
    EXPECT_TRUE(refuses(entry(1, 16), 1));      // the same id twice
}

TEST_F(PackedInflightTest, Attach_randomMemory_neverLeavesIt) {
    core::Prng prng(77);
    offer_and_note(4, 2);
    offer_and_note(1, 2);
    use(4);
    publish();
    const auto good = region;
    for (int round = 0; round < 20'000; ++round) {
        region = good;
        for (std::uint64_t i = 0; i <= prng.below(4); ++i) {
            region[12 + prng.below(region.size() - 12)] =
                static_cast<std::byte>(prng.below(2) == 0 ? prng.below(9) : prng.next());
        }
        if (attaches()) {
            for (std::uint16_t head = 0; head < kSize; ++head) {
                if (queue.taken(head).count != 0) {
                    static_cast<void>(walk(head));
                }
            }
        }
    }
}

// A driver and a device at work. What another process would find, had this one died behind a
// certain store to the ring or the region, is kept, and that process brings all to an end: each
// chain comes back once, whatever the moment was. It may die while it recovers, too.
class DyingTest : public PackedInflightTest {
  public:
    static constexpr std::size_t kRingBytes = 0x1000;
    struct Kept {
        std::vector<std::byte> ring;
        std::array<std::byte, PackedInflight::bytes_for(kSize)> region;
        DriverRing driver;
        std::set<std::uint16_t> out;
        std::uint16_t owned = 0;
    };

    void begin() {
        start(true);
        region = {};
        out.clear();
        running.clear();
        owned = 0;
        static_cast<void>(attach());
    }
    /// Keeps the world as it is `left` moments from now on.
    void watch(std::uint64_t left) {
        kept.reset();
        strike = [this, left]() mutable {
            if (left-- == 0) {
                const auto ring = ram.bytes().first(kRingBytes);
                kept.emplace(Kept{{ring.begin(), ring.end()}, region, driver, out, owned});
            }
        };
        at_each_moment = &strike;
        set_moment([] { (*at_each_moment)(); });
    }
    /// Whether that moment came; then the world is as it was.
    bool go_back() {
        set_moment(nullptr);
        if (!kept) {
            return false;
        }
        std::ranges::copy(kept->ring, ram.bytes().begin());
        region = kept->region;
        driver = kept->driver;
        out = kept->out;
        owned = kept->owned;
        return true;
    }

    void offer_some(core::Prng& prng) {
        for (std::uint64_t i = 0; i < 1 + prng.below(3); ++i) {
            const auto length = static_cast<std::uint16_t>(1 + prng.below(3));
            const auto head = static_cast<std::uint16_t>(prng.below(kSize));
            if (out.contains(head) || owned + length > kSize) {
                continue;
            }
            offer(head, length);
            out.insert(head);
            lengths[head] = length;
            owned = static_cast<std::uint16_t>(owned + length);
        }
        static_cast<void>(driver.publish());
    }
    void take_all() {
        const Heads heads = take().value_or(Heads{});
        for (const std::uint16_t head : heads) {
            inflight.taken(queue, head);
            running.push_back(head);
        }
    }
    void see_used() {
        while (const auto used = driver.take_used()) {
            const auto head = static_cast<std::uint16_t>(used->id);
            ASSERT_EQ(out.erase(head), 1U) << "head " << head << " came back and was not out";
            owned = static_cast<std::uint16_t>(owned - lengths[head]);
        }
    }
    void work(core::Prng& prng, int steps) {
        for (int step = 0; step < steps; ++step) {
            offer_some(prng);
            take_all();
            for (std::uint64_t i = prng.below(running.size() + 1); i > 0; --i) {
                const auto which =
                    running.begin() + static_cast<std::ptrdiff_t>(prng.below(running.size()));
                use(*which);
                running.erase(which);
            }
            if (queue.has_unpublished()) {
                publish();
            }
            see_used();
        }
    }
    void finish() {
        running = attach().in_flight;
        take_all();
        while (!running.empty()) {
            use(running.back());
            running.pop_back();
            publish();
            see_used();  // a flag that was left behind shows between two batches only
        }
        see_used();
        ASSERT_TRUE(out.empty()) << out.size() << " were lost";
        ASSERT_EQ(queue.base().used, queue.base().available);
    }

    std::set<std::uint16_t> out;  // offered and not seen by the driver
    std::map<std::uint16_t, std::uint16_t> lengths;
    std::vector<std::uint16_t> running;
    std::uint16_t owned = 0;
    std::optional<Kept> kept;
    std::function<void()> strike;
};

TEST_F(DyingTest, Death_behindAnyStore_losesAndRepeatsNothing) {
    if (!kHasMoments) {
        GTEST_SKIP() << "built without REMORA_PROBES: there is no moment to die at";
    }
    std::size_t deaths = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        for (std::uint64_t moment = 0;; ++moment) {
            begin();
            core::Prng prng(seed);
            watch(moment);
            work(prng, 8);
            if (!go_back()) {
                break;  // this seed has no more moments
            }
            ++deaths;
            watch(prng.below(8));
            static_cast<void>(attach());
            static_cast<void>(go_back());
            finish();
            core::Prng more(moment);
            work(more, 4);
            finish();
            ASSERT_FALSE(HasFailure()) << "seed " << seed << ", moment " << moment;
        }
    }
    EXPECT_GT(deaths, 10'000U);
}

}  // namespace
}  // namespace remora::test
