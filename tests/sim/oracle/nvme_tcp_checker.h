// SPDX-License-Identifier: Apache-2.0
// NvmeTcpChecker: watches the bytes of one NVMe/TCP connection both ways and reports what either
// side may not do (NVMe/TCP Transport Specification 1.0, "TCP" in reports; NVM Express Base
// Specification 2.0, "Base"). With layouts and a CRC of its own.
//
// Hand it the bytes of each direction in order, cut anywhere, *as the receiver gets them and before
// the receiver acts on them*: then a cause is always seen before its effect.
//
// The first violation of a connection is its last: what comes after it need not mean anything.
//
// Injected bit flips: corrupted() before the bytes that are flipped. Then the sender is not judged
// any more, and of the receiver is asked, as far as digests let it see the flips:
//   - header digest on: a PDU with a wrong header digest is the last that it has acted on: what
//     follows in that direction is not read here either, so an answer to it is an answer to no
//     command. The connection has to be closed by final_check();
//   - data digest on as well: a command whose data to the target had a wrong digest must not be
//     completed as successful (Base: Transient Transport Error). What the host does with a wrong
//     data digest is not on the wire; the block model sees it.
// Without a header digest, or during the handshake that has none, nothing is sound: all is off.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/units.h"
#include "tests/sim/oracle/pdu_splitter.h"

namespace remora::sim {

using core::Nanos;

struct CheckerOptions {
    std::string name;                    ///< Of the connection, for reports.
    std::uint32_t io_in_capsule = 8192;  ///< In-capsule data the target allows on an I/O queue.
    std::uint32_t most_events = 4;       ///< AERL + 1.
    std::uint32_t block_size = 0;        ///< 0: the lengths of reads and writes are not compared.
    bool judge_host = true;              ///< A side that is not judged may break the rules; from
    bool judge_target = true;            ///< then on all is off.
    /// A guest may change what the host sends between its digest and its bytes: then a wrong data
    /// digest of the host is its guest's, and what must not succeed all the same.
    bool stable_host_data = true;
    /// A TermReq to a side that has broken no rule is a violation.
    bool judge_term_req = true;
    /// Most time between two commands on an admin queue: KATO x `keep_alive_times` + slack (of the
    /// network). kNever: not judged.
    unsigned keep_alive_times = 2;
    Nanos keep_alive_slack{0};
};

struct CheckerStats {
    std::array<std::uint64_t, layout::kTypes> pdus{};  ///< By type.
    std::uint64_t commands = 0;
    std::uint64_t completions = 0;
    std::uint64_t failures = 0;       ///< Of these: with an error status.
    std::uint64_t success_flags = 0;  ///< Of these: by SUCCESS of a C2HData.
    std::uint64_t in_capsule = 0;     ///< Commands with data in their capsule.
    std::uint64_t bad_digests = 0;
    std::uint64_t late_data = 0;  ///< H2CData for a command that had failed already.
    std::size_t max_outstanding = 0;
    std::size_t max_r2ts = 0;  ///< Of one command.
    std::uint64_t violations = 0;
};

class NvmeTcpChecker {
  public:
    enum class Direction : std::uint8_t { HostToTarget, TargetToHost };
    using Report = std::function<void(std::string)>;

    NvmeTcpChecker(CheckerOptions options, std::function<Nanos()> now, Report report);
    NvmeTcpChecker(const NvmeTcpChecker&) = delete;
    NvmeTcpChecker& operator=(const NvmeTcpChecker&) = delete;

    void host_to_target(std::span<const std::byte> bytes);
    void target_to_host(std::span<const std::byte> bytes);
    void corrupted(Direction direction);
    /// Either side has closed it; bytes after this are not looked at.
    void closed() { closed_ = true; }
    /// What should have been done by the end of a run, when all is quiet.
    void final_check();

    [[nodiscard]] const CheckerStats& stats() const { return stats_; }
    [[nodiscard]] bool live() const { return connect_ == ConnectState::Done && !closed_; }
    [[nodiscard]] std::uint16_t qid() const { return qid_; }
    [[nodiscard]] std::size_t outstanding() const { return commands_.size(); }

  private:
    enum class Side : std::uint8_t { Host, Target };  ///< Who sends.
    enum class ConnectState : std::uint8_t { None, Sent, Done };
    enum class Transfer : std::uint8_t { None, ToTarget, ToHost };
    struct R2t {
        std::uint16_t ttag = 0;
        std::uint32_t next = 0;  ///< Where its next data starts.
        std::uint32_t end = 0;
    };
    struct Command {
        std::uint8_t opcode = 0;
        std::uint8_t fctype = 0;
        Transfer transfer = Transfer::None;
        bool in_capsule = false;
        bool last_seen = false;      ///< C2HData with LAST.
        bool bad_data = false;       ///< A data digest to the target was wrong.
        std::uint32_t length = 0;    ///< Of the data, as the SGL says.
        std::uint32_t least = 0;     ///< Bytes without which it cannot succeed.
        std::uint32_t received = 0;  ///< By the target.
        std::uint32_t asked = 0;     ///< End of the last R2T.
        std::uint32_t sent = 0;      ///< By the target.
        std::vector<R2t> r2ts;       ///< Whose data is not all there.
    };
    class Half final : public PduSink {
      public:
        Half(NvmeTcpChecker& checker, Side side) : checker_(checker), side_(side) {}
        void on_header(const Pdu& pdu) override { checker_.header(side_, pdu); }
        void on_end(const Pdu& pdu) override { checker_.end(side_, pdu); }
        void on_wrong(const Pdu& /*pdu*/, const std::string& what) override {
            checker_.violation(side_, what);
        }
        void on_bad_header_digest(const Pdu& pdu) override;
        void on_bad_data_digest(const Pdu& pdu) override;
        void on_lost() override;

      private:
        NvmeTcpChecker& checker_;
        Side side_;
    };

    // nvme_tcp_checker.cc: the connection
    void feed(Side side, PduSplitter& splitter, std::span<const std::byte> bytes);
    void header(Side side, const Pdu& pdu);
    void end(Side side, const Pdu& pdu);
    void ic_req(const Pdu& pdu);
    void ic_resp(const Pdu& pdu);
    void term_req(Side side, const Pdu& pdu);
    void violation(Side by, const std::string& what);
    [[nodiscard]] static Side other(Side side) {
        return side == Side::Host ? Side::Target : Side::Host;
    }
    static std::size_t index(Side side) { return static_cast<std::size_t>(side); }

    // nvme_tcp_checker_commands.cc: capsules
    void command(const Pdu& pdu);
    void check_opcode(const Command& command, std::uint16_t cid);
    void check_data_pointer(Command& command, const Pdu& pdu, std::uint16_t cid);
    void check_connect(const Pdu& pdu);
    void check_depth();
    void check_keep_alive();
    void completion(const Pdu& pdu);
    void check_success(const Command& command, std::uint16_t cid);
    void check_head(std::uint16_t sqhd);
    void connected(std::uint16_t sqhd);
    void finish(std::uint16_t cid, bool success);
    [[nodiscard]] std::string describe(const Command& command, std::uint16_t cid) const;

    // nvme_tcp_checker_data.cc: R2T, H2CData, C2HData
    void r2t(const Pdu& pdu);
    void h2c_header(const Pdu& pdu);
    void h2c_end(const Pdu& pdu);
    void c2h_header(const Pdu& pdu);
    void c2h_end(const Pdu& pdu);
    void capsule_end(const Pdu& pdu);
    [[nodiscard]] std::vector<R2t>* r2ts_of(std::uint16_t cid);

    CheckerOptions options_;
    std::function<Nanos()> now_;
    Report report_;
    CheckerStats stats_;
    Half host_half_;
    Half target_half_;
    PduSplitter from_host_;
    PduSplitter from_target_;

    bool closed_ = false;
    bool off_ = false;               // nothing is judged any more
    std::array<bool, 2> corrupt_{};  // by who sends
    std::array<bool, 2> ended_{};    // has sent a TermReq
    bool must_close_ = false;        // a wrong header digest was received

    bool asked_ = false;     // ICReq seen
    bool answered_ = false;  // ICResp seen
    std::uint8_t asked_digests_ = 0;
    std::uint32_t host_alignment_ = 4;  // of data to the host
    std::uint64_t most_r2ts_ = 1;
    std::uint32_t max_h2c_data_ = 0;

    ConnectState connect_ = ConnectState::None;
    std::uint16_t connect_cid_ = 0;
    std::uint16_t qid_ = 0;
    std::uint32_t entries_ = 0;  // of the queue
    bool wants_no_flow_control_ = false;
    bool flow_control_ = true;
    Nanos keep_alive_{0};
    Nanos last_command_{0};
    std::uint64_t submitted_ = 0;  // since Connect
    std::uint64_t completed_ = 0;
    std::uint64_t consumed_ = 0;  // as SQHD tells
    std::uint16_t head_ = 0;
    std::size_t events_ = 0;  // Asynchronous Event Requests outstanding
    std::map<std::uint16_t, Command> commands_;
    std::map<std::uint16_t, std::vector<R2t>> late_;  // of failed commands: data may be on its way
};

}  // namespace remora::sim
