// SPDX-License-Identifier: Apache-2.0
// A function with 256 namespaces: listed, read and written, and changed under load.
#include <array>
#include <cstring>
#include <future>
#include <numeric>

#include "tests/unit/vfio_user_nvme/nvme_fixture.h"

namespace remora::test {
namespace {

class VfioNvmeManyTest : public VfioNvmeTest {
  public:
    static constexpr std::uint32_t kSpaces = 256;
    static constexpr std::uint32_t kMiddle = 128;
    static constexpr std::uint64_t kSpaceBlocks = 64;
    static constexpr std::uint32_t kBlock = 512;

    void start(std::uint32_t namespaces = kSpaces) {
        ControllerSpec with = controller_spec();
        with.identity.max_namespaces = kSpaces;
        make_controller(with);
        for (std::uint32_t nsid = 1; nsid <= namespaces; ++nsid) {
            add(nsid);
        }
        guest = std::make_unique<NvmeGuest>(guest_options());
        ASSERT_TRUE(guest->start(2, 512)) << guest->error();
        data = guest->allocate(std::size_t{kSpaces} * kBlock);
    }
    SlowDevice& add(std::uint32_t nsid) {
        block::Geometry small = geometry(kBlock);
        small.block_count = kSpaceBlocks;
        return add_namespace(nsid, small);
    }
    /// From one to another, without `gone`.
    static std::vector<std::uint32_t> numbers(std::uint32_t first,
                                              std::uint32_t last,
                                              std::uint32_t gone = 0) {
        std::vector<std::uint32_t> out(last - first + 1);
        std::iota(out.begin(), out.end(), first);
        std::erase(out, gone);
        return out;
    }
    /// The active namespaces behind `after`.
    std::vector<std::uint32_t> listed(std::uint32_t after = 0) {
        const auto page =
            guest->identify(static_cast<std::uint8_t>(spec::Cns::ActiveNamespaces), after);
        std::vector<std::uint32_t> out(spec::kNamespaceListEntries);
        EXPECT_TRUE(page.has_value());
        if (page) {
            std::memcpy(out.data(), page->data(), page->size());
        }
        const auto end = std::ranges::find(out, 0U);
        EXPECT_TRUE(std::all_of(end, out.end(), [](std::uint32_t nsid) { return nsid == 0; }));
        out.erase(end, out.end());
        return out;
    }

    [[nodiscard]] std::byte* place(std::uint32_t nsid) const {
        return guest->at(data + (nsid - 1) * std::uint64_t{kBlock});
    }
    [[nodiscard]] std::uint64_t lba(std::uint32_t nsid) const {
        return (nsid + round_) % kSpaceBlocks;
    }
    /// What a namespace gets in this round, like no other.
    [[nodiscard]] std::vector<std::byte> content(std::uint32_t nsid) const {
        std::array<std::uint64_t, kBlock / sizeof(std::uint64_t)> words{};
        words.fill((std::uint64_t{round_} << 32U) | nsid);
        const auto bytes = std::as_bytes(std::span(words));
        return {bytes.begin(), bytes.end()};
    }
    Command block_io(IoOpcode opcode, std::uint32_t nsid) {
        Command command = NvmeGuest::io(opcode, lba(nsid), 1, nsid);
        guest->point(command, data + (nsid - 1) * std::uint64_t{kBlock}, kBlock);
        return command;
    }
    void offer(IoOpcode opcode, const std::vector<std::uint32_t>& nsids) {
        offered_ = nsids;
        first_ = guest->queue(1).next_cid;
        for (const std::uint32_t nsid : nsids) {
            guest->push(guest->queue(1), block_io(opcode, nsid));
        }
        guest->ring(guest->queue(1));
    }
    /// All of them are answered: `gone` as one that is not there, the others well.
    void expect_answers(std::uint32_t gone = 0) {
        std::vector<bool> seen(offered_.size());
        for (std::size_t i = 0; i < offered_.size(); ++i) {
            const auto entry = guest->wait(guest->queue(1));
            ASSERT_TRUE(entry.has_value()) << i;
            const auto number = static_cast<std::uint16_t>(entry->cid - first_);
            ASSERT_LT(number, offered_.size());
            ASSERT_FALSE(seen[number]);
            seen[number] = true;
            const std::uint32_t nsid = offered_[number];
            EXPECT_EQ(entry->status(), nsid == gone ? refused(StatusCode::InvalidNamespace) : 0)
                << nsid;
        }
    }
    void put_content() {
        ++round_;
        for (std::uint32_t nsid = 1; nsid <= kSpaces; ++nsid) {
            std::memcpy(place(nsid), content(nsid).data(), kBlock);
        }
    }
    void expect_content(std::uint32_t gone = 0) {
        for (const std::uint32_t nsid : numbers(1, kSpaces, gone)) {
            EXPECT_EQ(std::memcmp(place(nsid), content(nsid).data(), kBlock), 0) << nsid;
        }
    }
    /// Writes to all of them at once, reads back, compares.
    void load(std::uint32_t gone = 0) {
        put_content();
        offer(IoOpcode::Write, numbers(1, kSpaces));
        expect_answers(gone);
        std::memset(guest->at(data), 0, std::size_t{kSpaces} * kBlock);
        offer(IoOpcode::Read, numbers(1, kSpaces));
        expect_answers(gone);
        expect_content(gone);
    }

    void hold_first_ones(bool on) {
        on_reactor([&] {
            for (const auto& device : std::span(devices).first(8)) {
                device->hold(on);
            }
        });
    }

    std::unique_ptr<NvmeGuest> guest;
    std::uint64_t data = 0;

  private:
    std::uint32_t round_ = 0;
    std::vector<std::uint32_t> offered_;
    std::uint16_t first_ = 0;
};

TEST_F(VfioNvmeManyTest, Identify_of256Namespaces_listsThemInOrder) {
    start();
    EXPECT_EQ(listed(), numbers(1, kSpaces));
    EXPECT_EQ(listed(kMiddle), numbers(kMiddle + 1, kSpaces));
    EXPECT_EQ(listed(kSpaces - 1), numbers(kSpaces, kSpaces));
    EXPECT_TRUE(listed(kSpaces).empty());
    const auto bytes = guest->identify(static_cast<std::uint8_t>(spec::Cns::Controller));
    ASSERT_TRUE(bytes.has_value());
    spec::IdentifyController page;
    std::memcpy(&page, bytes->data(), sizeof(page));
    EXPECT_EQ(page.nn, kSpaces);
}

TEST_F(VfioNvmeManyTest, WriteAndRead_onEachNamespace_reachItsOwnVolume) {
    start();
    load();
    for (std::uint32_t nsid = 1; nsid <= kSpaces; ++nsid) {
        EXPECT_EQ(stored(*devices[nsid - 1], lba(nsid) * kBlock, kBlock), content(nsid)) << nsid;
    }
    for (const std::uint32_t nsid : {kSpaces + 1, spec::kBroadcastNsid - 1}) {
        EXPECT_EQ(guest->status_of(guest->queue(1), NvmeGuest::io(IoOpcode::Verify, 0, 1, nsid)),
                  refused(StatusCode::InvalidNamespace));
    }
}

TEST_F(VfioNvmeManyTest, Middle_removedAndAddedUnderLoad_disturbsNoOther) {
    start();
    SlowDevice& old = *devices[kMiddle - 1];
    load();
    ask_for_event(*guest);
    on_reactor([&] { old.hold(true); });
    guest->push(guest->queue(2), block_io(IoOpcode::Verify, kMiddle));
    guest->ring(guest->queue(2));
    ASSERT_TRUE(eventually([&] { return old.held() == 1; }));
    auto removed = std::async(
        std::launch::async, [this] { return remove_namespace(kMiddle, std::chrono::seconds(10)); });
    expect_changed(*guest, std::array{kMiddle});
    EXPECT_EQ(listed(), numbers(1, kSpaces, kMiddle));
    for (int i = 0; i < 5; ++i) {
        load(kMiddle);
    }
    EXPECT_EQ(removed.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
    on_reactor([&] { old.hold(false); });
    const auto last = guest->wait(guest->queue(2));
    ASSERT_TRUE(last.has_value());
    EXPECT_EQ(last->status(), 0);
    EXPECT_TRUE(removed.get().has_value());
    load(kMiddle);

    // Back, as another volume, with commands under way on the others.
    ask_for_event(*guest);
    hold_first_ones(true);
    put_content();
    offer(IoOpcode::Write, numbers(1, kSpaces, kMiddle));
    ASSERT_TRUE(eventually([this] { return devices.front()->held() == 1; }));
    SlowDevice& back = add(kMiddle);
    hold_first_ones(false);
    expect_answers();
    expect_changed(*guest, std::array{kMiddle});
    EXPECT_EQ(listed(), numbers(1, kSpaces));
    load();
    EXPECT_EQ(stored(back, lba(kMiddle) * kBlock, kBlock), content(kMiddle));
}

// The host is slow to read the list: one event is for all of them.
TEST_F(VfioNvmeManyTest, All_addedAndRemovedUnderAHost_areAnEventAndAListEach) {
    start(0);
    EXPECT_TRUE(listed().empty());
    ask_for_event(*guest);
    for (std::uint32_t nsid = 1; nsid <= kSpaces; ++nsid) {
        add(nsid);
    }
    expect_changed(*guest, numbers(1, kSpaces));
    ask_for_event(*guest);
    EXPECT_EQ(listed(), numbers(1, kSpaces));
    load();
    for (std::uint32_t nsid = kSpaces; nsid > 0; --nsid) {
        EXPECT_TRUE(remove_namespace(nsid, std::chrono::seconds(5)).has_value()) << nsid;
    }
    expect_changed(*guest, numbers(1, kSpaces));
    EXPECT_TRUE(listed().empty());
}

}  // namespace
}  // namespace remora::test
