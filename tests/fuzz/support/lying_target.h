// SPDX-License-Identifier: Apache-2.0
// LyingTarget: a small NVMe/TCP target in a FakeIo world. By itself it behaves, with one volume of
// 32 KiB; hooks make it lie. What the host sends is checked: a PDU that breaks the rules aborts.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nvme/spec/command.h"
#include "nvme/spec/fabrics.h"
#include "nvme/tcp/pdu.h"
#include "reactor/io.h"
#include "reactor/reactor.h"
#include "tests/fuzz/support/pdu_stream.h"

namespace remora::fuzz {

class LyingTarget;

/// One connection.
class Link final : private reactor::ReadyHandler {
  public:
    Link(LyingTarget& target, std::unique_ptr<reactor::Stream> stream);
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    ~Link() = default;

    /// Bytes as they are, cut as the target says.
    void send(std::span<const std::byte> bytes);
    /// A PDU with sizes and digests made right.
    void send_pdu(std::span<const std::byte> header, std::span<const std::byte> data);
    /// The first one counts: it says how the host's PDUs look from now on.
    void send_ic_resp(const nvme::tcp::IcResp& response);
    void respond(std::uint16_t cid, std::uint16_t status, std::uint64_t value = 0);
    void send_data(std::uint16_t cid,
                   std::uint32_t offset,
                   std::span<const std::byte> data,
                   std::uint8_t flags);
    void send_r2t(std::uint16_t cid, std::uint32_t offset, std::uint32_t bytes);
    /// The target ends it, cleanly or not. It is gone after the current turn.
    void end(bool reset);
    [[nodiscard]] bool ended() const { return ended_; }

    bool spoil_header = false;  ///< The next header digest is wrong.
    bool spoil_data = false;

  private:
    friend class LyingTarget;
    struct Writing {
        nvme::spec::Command command;
        std::vector<std::byte> data;
        std::uint32_t have = 0;
    };

    void on_ready(reactor::Readiness readiness) override;
    void note_queue(const Pdu& pdu);
    void take(const Pdu& pdu);
    void greet(const nvme::tcp::IcReq& request);
    void on_command(const nvme::spec::Command& command, std::span<const std::byte> data);
    void on_fabrics(const nvme::spec::Command& command);
    void on_admin(const nvme::spec::Command& command);
    void on_io(const nvme::spec::Command& command, std::span<const std::byte> data);
    void on_h2c_data(const Pdu& pdu);
    void answer_data(const nvme::spec::Command& command, std::span<const std::byte> data);

    LyingTarget& target_;
    std::unique_ptr<reactor::Stream> stream_;
    PduStream said_{nvme::tcp::Direction::ToController};
    bool greeted_ = false;
    std::uint8_t digests_ = 0;
    std::size_t alignment_ = 4;
    std::uint32_t max_h2c_ = 0;
    std::uint16_t qid_ = 0;
    std::uint32_t cc_ = 0;
    bool ended_ = false;
    std::map<std::uint16_t, Writing> writing_;
};

class LyingTarget final : private reactor::AcceptHandler {
  public:
    explicit LyingTarget(reactor::Reactor& reactor);
    LyingTarget(const LyingTarget&) = delete;
    LyingTarget& operator=(const LyingTarget&) = delete;
    ~LyingTarget();

    static constexpr std::uint64_t kBlocks = 64;

    /// Sees every PDU first; true: it is dealt with.
    std::function<bool(Link&, const Pdu&)> on_pdu;
    /// May change the data of an Identify or a log page before it is sent.
    std::function<void(std::vector<std::byte>&)> on_page;
    /// May change the value of a property or the result of a feature.
    std::function<void(std::uint64_t&)> on_value;

    std::uint8_t digests = 0;  ///< Offered when the host asks.
    std::uint8_t cpda = 0;
    std::uint32_t max_h2c = 4096;
    std::size_t piece = 0;  ///< Bytes of a send that arrive at once; 0: all.
    std::vector<std::byte> disk;
    std::vector<std::byte> discovery_log;
    reactor::Endpoint at;
    std::size_t links = 0;  ///< Accepted so far.

    /// Lets go of all connections. On the reactor.
    void close();

  private:
    friend class Link;
    void on_accept(reactor::Handle connection) override;
    [[nodiscard]] std::vector<std::byte> identify(const nvme::spec::Command& command) const;

    reactor::Reactor& reactor_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
    std::vector<std::unique_ptr<Link>> open_;
};

}  // namespace remora::fuzz
