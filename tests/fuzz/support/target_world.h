// SPDX-License-Identifier: Apache-2.0
// TargetWorld: a real NVMe/TCP target with one subsystem and one volume in a FakeIo world, and
// hosts that say what a fuzzer wants and check everything the target answers.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "frontends/nvme_tcp/target.h"
#include "nvme/reservation_keeper.h"
#include "nvme/spec/fabrics.h"
#include "nvme/tcp/pdu.h"
#include "nvme/uncorrectable_keeper.h"
#include "tests/fuzz/support/input.h"
#include "tests/fuzz/support/pdu_stream.h"
#include "tests/fuzz/support/world.h"
#include "tests/unit/nvme_tcp_target/memory_device.h"

namespace remora::fuzz {

inline const std::string kSubsystemNqn = "nqn.2026-01.fuzz:sub";
inline const std::string kHostNqn = "nqn.2026-01.fuzz:host";

nvme::tcp::IcReq make_ic_req(std::uint8_t dgst, std::uint8_t hpda);
nvme::spec::ConnectCommand make_connect(std::uint16_t qid,
                                        std::uint16_t sqsize,
                                        std::uint32_t keep_alive_ms);
nvme::spec::ConnectData make_connect_data(std::uint16_t cntlid, std::uint8_t host_id);
nvme::spec::PropertyCommand make_property_set(std::uint32_t offset, std::uint64_t value);
/// CC with EN and the NVM entry sizes.
constexpr std::uint64_t kEnabledCc = nvme::spec::cc::kEnable | nvme::spec::cc::kNvmEntrySizes;

/// The host's end of one connection.
class RawTargetHost {
  public:
    RawTargetHost(std::unique_ptr<reactor::Stream> stream, std::uint8_t dgst)
        : stream_(std::move(stream)), dgst_(dgst) {}

    /// Bytes as they are; they arrive together. Lost when the target has ended the connection.
    void send(std::span<const std::byte> bytes);
    /// A capsule with sizes and digests as negotiated.
    void send_capsule(std::span<const std::byte> command, std::span<const std::byte> data);
    void send_ic_req(std::uint8_t hpda);
    /// H2CData; `datal` may lie.
    void send_data(nvme::tcp::DataPdu pdu, std::span<const std::byte> data);
    /// Takes all that has come and checks it.
    void listen();
    void shutdown() { stream_->shutdown_send(); }
    void break_off() { FakeIo::break_stream(*stream_); }

    /// The target has ended the connection, or is about to.
    [[nodiscard]] bool ended() const { return ended_; }
    [[nodiscard]] bool connected() const { return connected_; }
    [[nodiscard]] std::uint16_t cntlid() const { return cntlid_; }

    std::deque<nvme::tcp::R2t> asked;  ///< R2Ts nobody has answered.
    bool raw = false;      ///< It was sent bytes that are no whole PDU: no more counting.
    std::size_t sent = 0;  ///< Capsules.
    std::size_t answered = 0;
    std::size_t event_requests = 0;

  private:
    void take(const Pdu& pdu);

    std::unique_ptr<reactor::Stream> stream_;
    std::uint8_t dgst_;
    PduStream said_{nvme::tcp::Direction::ToHost};
    bool greeted_ = false;
    bool connected_ = false;
    bool ended_ = false;
    std::uint16_t cntlid_ = 0;
};

/// Keeps reservations as long as the volume is well.
class FuzzKeeper final : public nvme::ReservationKeeper {
  public:
    explicit FuzzKeeper(const test::MemoryDevice& device) : device_(device) {}
    reactor::Task<core::Result<void>> keep(std::string /*nqn*/,
                                           std::uint32_t /*nsid*/,
                                           nvme::ReservationRecord record) override {
        CHECK(nvme::is_consistent(record));
        if (device_.fail_with != block::Status::Ok) {
            co_return core::fail(core::ErrorKind::Internal, "not now");
        }
        co_return core::Result<void>();
    }

  private:
    const test::MemoryDevice& device_;
};

/// The same for marks.
class FuzzMarkKeeper final : public nvme::UncorrectableKeeper {
  public:
    explicit FuzzMarkKeeper(const test::MemoryDevice& device) : device_(device) {}
    reactor::Task<core::Result<void>> keep(std::string /*nqn*/,
                                           std::uint32_t /*nsid*/,
                                           nvme::UncorrectableBlocks marks) override {
        CHECK(nvme::UncorrectableBlocks::from(marks.ranges()) == marks);
        if (device_.fail_with != block::Status::Ok) {
            co_return core::fail(core::ErrorKind::Internal, "not now");
        }
        co_return core::Result<void>();
    }

  private:
    const test::MemoryDevice& device_;
};

class TargetWorld {
  public:
    explicit TargetWorld(frontends::nvme_tcp::TargetLimits limits = small_limits());
    TargetWorld(const TargetWorld&) = delete;
    TargetWorld& operator=(const TargetWorld&) = delete;
    /// Stops the target; everything must have come back.
    ~TargetWorld();

    static frontends::nvme_tcp::TargetLimits small_limits();

    std::unique_ptr<RawTargetHost> dial(std::uint8_t dgst);
    /// A host whose queue is connected; the admin queue's controller is enabled.
    std::unique_ptr<RawTargetHost> admin_queue(std::uint8_t dgst, std::uint8_t hpda);
    std::unique_ptr<RawTargetHost> io_queue(std::uint16_t cntlid,
                                            std::uint16_t qid,
                                            std::uint8_t dgst,
                                            std::uint8_t hpda);

    World world;
    test::MemoryDevice device{"disk", 128};
    FuzzKeeper keeper{device};
    FuzzMarkKeeper mark_keeper{device};
    std::unique_ptr<frontends::nvme_tcp::Target> target;
    reactor::Endpoint at;
};

}  // namespace remora::fuzz
