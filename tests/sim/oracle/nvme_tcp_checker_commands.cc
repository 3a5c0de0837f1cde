// SPDX-License-Identifier: Apache-2.0
// NvmeTcpChecker, capsules: what a host may send when, and how a target completes it.
#include <algorithm>
#include <utility>

#include "tests/sim/oracle/filled.h"
#include "tests/sim/oracle/nvme_tcp_checker.h"

namespace remora::sim {

using namespace layout;  // NOLINT(google-build-using-namespace): constants of this file's subject

namespace {

constexpr std::uint32_t kAdminInCapsule = 8192;  // TCP §3.4, what every controller takes
constexpr std::uint32_t kConnectData = 1024;

/// Opcodes of Base 2.0 that exist over fabrics: queues are made by Connect, not by commands.
bool admin_opcode(std::uint8_t opcode) {
    return opcode != 0x00 && opcode != 0x01 && opcode != 0x04 && opcode != 0x05 && opcode != 0x03 &&
           opcode != 0x07;
}

/// Opcodes of the NVM Command Set Specification 1.0.
bool io_opcode(std::uint8_t opcode) {
    constexpr std::uint8_t kKnown[] = {0x00, 0x01, 0x02, 0x04, 0x05, 0x08, 0x09,
                                       0x0c, 0x0d, 0x0e, 0x11, 0x15, 0x19};
    return std::ranges::find(kKnown, opcode) != std::end(kKnown);
}

}  // namespace

std::string NvmeTcpChecker::describe(const Command& command, std::uint16_t cid) const {
    return command.opcode == kFabrics
               ? filled("CID {} (fabrics type {})", cid, command.fctype)
               : filled("CID {} (opcode {}, {} bytes)", cid, command.opcode, command.length);
}

void NvmeTcpChecker::command(const Pdu& pdu) {
    const std::uint16_t cid = load16(pdu.header, kSqeCid);
    Command command;
    command.opcode = load8(pdu.header, kSqeOpcode);
    command.fctype = load8(pdu.header, kSqeFctype);
    ++stats_.commands;
    late_.erase(cid);
    if (commands_.contains(cid)) {
        violation(Side::Host,
                  filled("CID {} is used while {} is outstanding (Base, Command Dword 0: "
                         "Command Identifier)",
                         cid, describe(commands_[cid], cid)));
        return;
    }
    check_keep_alive();
    last_command_ = now_();
    check_opcode(command, cid);
    const bool connect = command.opcode == kFabrics && command.fctype == kFctypeConnect;
    if (connect) {
        check_connect(pdu);
    }
    check_data_pointer(command, pdu, cid);
    if (connect) {
        connect_ = ConnectState::Sent;
        connect_cid_ = cid;
    } else {
        ++submitted_;
    }
    if (command.opcode == kAsyncEvent && qid_ == 0 && ++events_ > options_.most_events) {
        violation(Side::Host,
                  filled("{} Asynchronous Event Requests are outstanding; AERL allows {} "
                         "(Base, Asynchronous Event Request)",
                         events_, options_.most_events));
    }
    commands_.emplace(cid, std::move(command));
    stats_.max_outstanding = std::max(stats_.max_outstanding, commands_.size());
    if (!connect) {
        check_depth();
    }
}

void NvmeTcpChecker::check_opcode(const Command& command, std::uint16_t cid) {
    const bool fabrics = command.opcode == kFabrics;
    const bool connect = fabrics && command.fctype == kFctypeConnect;
    if (connect_ != (connect ? ConnectState::None : ConnectState::Done)) {
        violation(Side::Host, connect ? filled("a second Connect, CID {} (Base, Connect)", cid)
                                      : filled("{} before Connect was completed (Base, Connect)",
                                               describe(command, cid)));
        return;
    }
    const bool property =
        fabrics && (command.fctype == kFctypePropertyGet || command.fctype == kFctypePropertySet);
    if (!fabrics && !(qid_ == 0 ? admin_opcode(command.opcode) : io_opcode(command.opcode))) {
        violation(Side::Host,
                  filled("{} does not exist on an {} queue over fabrics (Base, Opcodes)",
                         describe(command, cid), qid_ == 0 ? "admin" : "I/O"));
    } else if (property && qid_ != 0) {
        violation(Side::Host, filled("{}, a Property command, on an I/O queue (Base, Fabrics "
                                     "Commands)",
                                     describe(command, cid)));
    }
}

void NvmeTcpChecker::check_connect(const Pdu& pdu) {
    const std::uint16_t format = load16(pdu.header, kSqeRecfmt);
    const std::uint16_t size = load16(pdu.header, kSqeSqsize);
    qid_ = load16(pdu.header, kSqeQid);
    entries_ = size + 1U;
    wants_no_flow_control_ = (load8(pdu.header, kSqeCattr) & kCattrNoFlowControl) != 0;
    keep_alive_ = std::chrono::milliseconds(qid_ == 0 ? load32(pdu.header, kSqeKato) : 0);
    if (format != 0 || size == 0) {
        violation(Side::Host,
                  filled("Connect with RECFMT {} and SQSIZE {} (Base, Connect)", format, size));
    }
}

/// Base, Common Command Format and SGL; TCP §3.6.2, CapsuleCmd.
void NvmeTcpChecker::check_data_pointer(Command& command, const Pdu& pdu, std::uint16_t cid) {
    const bool fabrics = command.opcode == kFabrics;
    const unsigned way = (fabrics ? command.fctype : command.opcode) & 3U;
    command.transfer = way == 1 ? Transfer::ToTarget : way == 2 ? Transfer::ToHost : Transfer::None;
    const std::uint8_t flags = load8(pdu.header, kSqeFlags);
    const std::uint8_t sgl = load8(pdu.header, kSqeSglId);
    command.length = command.transfer == Transfer::None ? 0 : load32(pdu.header, kSqeSglLength);
    if (command.length == 0) {
        command.transfer = Transfer::None;
        if (pdu.data > 0) {
            violation(Side::Host, filled("{} has no data, its capsule has {} bytes",
                                         describe(command, cid), pdu.data));
        }
        return;
    }
    command.in_capsule = sgl == kSglInCapsule;
    stats_.in_capsule += command.in_capsule ? 1 : 0;
    const std::uint32_t most = qid_ == 0 || fabrics ? kAdminInCapsule : options_.io_in_capsule;
    const std::uint64_t offset = load<8>(pdu.header, kSqeSglOffset);
    if ((flags & 0xc0U) != 0x40 || (flags & 3U) != 0) {
        violation(Side::Host,
                  filled("{} has FUSE and PSDT {}: data over fabrics is described by an "
                         "SGL (Base, Command Dword 0)",
                         describe(command, cid), flags));
    } else if (sgl != kSglInCapsule && sgl != kSglTransport) {
        violation(Side::Host, filled("{} has SGL descriptor {} (Base, SGL Descriptor Type)",
                                     describe(command, cid), sgl));
    } else if (command.in_capsule ? command.transfer != Transfer::ToTarget || pdu.data > most ||
                                        offset > pdu.data || command.length > pdu.data - offset
                                  : pdu.data > 0) {
        violation(Side::Host,
                  filled("{} has SGL descriptor {} at {}, its capsule has {} bytes and may have {} "
                         "(TCP §3.6.2, CapsuleCmd)",
                         describe(command, cid), sgl, offset, pdu.data, most));
    }
    const bool io = qid_ != 0 && !fabrics;
    const bool read_or_write = io && (command.opcode == kRead || command.opcode == kWrite);
    if (read_or_write || (!io && !fabrics && command.transfer == Transfer::ToHost &&
                          (command.opcode == kIdentify || command.opcode == kGetLogPage))) {
        command.least = command.length;
    } else if (io && command.opcode == kDsm) {
        command.least = (load8(pdu.header, kSqeNr) + 1U) * 16U;
    } else if (fabrics && command.fctype == kFctypeConnect) {
        command.least = kConnectData;
    }
    const std::uint64_t blocks = load16(pdu.header, kSqeNlb) + 1U;
    if (read_or_write && options_.block_size != 0 &&
        blocks * options_.block_size != command.length) {
        violation(Side::Host, filled("{} is for {} blocks of {} (NVM Command Set, NLB)",
                                     describe(command, cid), blocks, options_.block_size));
    }
}

/// Base, Connect: with flow control the host does not pass the head that it knows of; without, it
/// keeps fewer commands outstanding than the queue has entries.
void NvmeTcpChecker::check_depth() {
    const std::uint64_t used = flow_control_ ? submitted_ - consumed_ : commands_.size();
    if (used >= entries_) {
        violation(Side::Host,
                  filled("{} commands are {} and the queue has {} entries (Base, SQ flow "
                         "control)",
                         used, flow_control_ ? "not consumed" : "outstanding", entries_));
    }
}

/// Base, Keep Alive: the host lets the controller hear of it in time.
void NvmeTcpChecker::check_keep_alive() {
    if (keep_alive_ == Nanos{0} || connect_ != ConnectState::Done ||
        options_.keep_alive_slack == core::kNever || ended_[index(Side::Host)]) {
        return;
    }
    const Nanos most = keep_alive_ * options_.keep_alive_times + options_.keep_alive_slack;
    if (now_() - last_command_ > most) {
        violation(Side::Host, filled("no command for {} ns and KATO is {} ns (Base, Keep Alive)",
                                     (now_() - last_command_).count(), keep_alive_.count()));
    }
}

void NvmeTcpChecker::completion(const Pdu& pdu) {
    const std::uint16_t cid = load16(pdu.header, kCqeCid);
    const std::uint16_t status = load16(pdu.header, kCqeStatus);
    const std::uint16_t sqhd = load16(pdu.header, kCqeSqhd);
    const auto found = commands_.find(cid);
    if (found == commands_.end()) {
        violation(Side::Target,
                  filled("CapsuleResp for CID {}, which is not outstanding: twice, or "
                         "never asked for (TCP §3.6.2, CapsuleResp)",
                         cid));
        return;
    }
    if ((status & 1U) != 0) {
        violation(Side::Target, filled("the phase tag of CID {}'s completion is set (Base, Common "
                                       "Completion Queue Entry)",
                                       cid));
    }
    const bool success = ((status >> 1U) & 0x7ffU) == 0;
    if (success) {
        check_success(found->second, cid);
    }
    const bool connect = connect_ == ConnectState::Sent && cid == connect_cid_;
    finish(cid, success);
    if (!connect) {
        check_head(sqhd);
    } else if (success) {
        connected(sqhd);
    } else {
        connect_ = ConnectState::None;
    }
}

void NvmeTcpChecker::connected(std::uint16_t sqhd) {
    connect_ = ConnectState::Done;
    completed_ = 0;
    flow_control_ = sqhd != 0xffff;
    if (!flow_control_ && !wants_no_flow_control_) {
        violation(Side::Target,
                  "Connect's SQHD is FFFFh, but the host did not ask for no SQ flow "
                  "control (Base, Connect Response)");
    } else if (flow_control_ && sqhd >= entries_) {
        violation(Side::Target, filled("Connect's SQHD {} is outside of {} entries (Base, Connect "
                                       "Response)",
                                       sqhd, entries_));
    }
    head_ = sqhd;
}

/// Base, SQ Head Pointer: the queue's head after what the controller has consumed by now.
void NvmeTcpChecker::check_head(std::uint16_t sqhd) {
    if (!flow_control_ || connect_ != ConnectState::Done) {
        return;  // reserved
    }
    if (sqhd >= entries_) {
        violation(Side::Target, filled("SQHD {} is outside of {} entries (Base, SQ Head Pointer)",
                                       sqhd, entries_));
        return;
    }
    const std::uint64_t moved = (std::uint64_t{sqhd} + entries_ - head_) % entries_;
    head_ = sqhd;
    consumed_ += moved;
    if (consumed_ > submitted_ || consumed_ < completed_) {
        violation(Side::Target,
                  filled("SQHD {} says that {} commands were consumed; {} were sent and "
                         "{} completed (Base, SQ Head Pointer)",
                         sqhd, consumed_, submitted_, completed_));
    }
}

void NvmeTcpChecker::check_success(const Command& command, std::uint16_t cid) {
    const bool to_target = command.transfer == Transfer::ToTarget;
    const std::uint32_t moved = to_target ? command.received : command.sent;
    if (command.bad_data) {
        violation(Side::Target, filled("{} succeeded, but the digest of its data was wrong (TCP "
                                       "§3.3.1: Transient Transport Error)",
                                       describe(command, cid)));
    } else if (moved < command.least || (to_target && !command.r2ts.empty())) {
        violation(Side::Target,
                  filled("{} succeeded after {} bytes of data, with {} R2Ts open (TCP "
                         "§3.3)",
                         describe(command, cid), moved, command.r2ts.size()));
    } else if (command.sent > 0 && !command.last_seen) {
        violation(Side::Target, filled("{} succeeded without a C2HData with LAST_PDU (TCP §3.6.2, "
                                       "C2HData)",
                                       describe(command, cid)));
    }
}

void NvmeTcpChecker::finish(std::uint16_t cid, bool success) {
    const auto found = commands_.find(cid);
    ++stats_.completions;
    ++completed_;
    if (!success) {
        ++stats_.failures;
        if (!found->second.r2ts.empty()) {
            late_[cid] = std::move(found->second.r2ts);
        }
    }
    if (found->second.opcode == kAsyncEvent && qid_ == 0) {
        --events_;
    }
    commands_.erase(found);
}

}  // namespace remora::sim
