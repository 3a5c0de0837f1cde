// SPDX-License-Identifier: Apache-2.0
// NvmeTcpChecker, data: what the target asks for, what the host sends, what the target sends.
#include <algorithm>

#include "tests/sim/oracle/filled.h"
#include "tests/sim/oracle/nvme_tcp_checker.h"

namespace remora::sim {

using namespace layout;  // NOLINT(google-build-using-namespace): constants of this file's subject

namespace {

struct DataHeader {
    std::uint16_t cid;
    std::uint16_t ttag;
    std::uint32_t offset;
    std::uint32_t length;
};

DataHeader data_header(const Pdu& pdu) {
    return {load16(pdu.header, kDataCccid), load16(pdu.header, kDataTtag),
            load32(pdu.header, kDataOffset), load32(pdu.header, kDataLength)};
}

}  // namespace

void NvmeTcpChecker::r2t(const Pdu& pdu) {
    const DataHeader at = data_header(pdu);
    const auto found = commands_.find(at.cid);
    if (found == commands_.end()) {
        violation(Side::Target,
                  filled("R2T for CID {}, which is not outstanding (TCP §3.6.2, R2T)", at.cid));
        return;
    }
    Command& command = found->second;
    const auto same_tag = [&](const R2t& one) { return one.ttag == at.ttag; };
    if (command.transfer != Transfer::ToTarget || command.in_capsule) {
        violation(Side::Target, filled("R2T for {}, which has no data to send (TCP §3.6.2, R2T)",
                                       describe(command, at.cid)));
    } else if (at.length == 0 || at.offset != command.asked ||
               at.length > command.length - command.asked) {
        violation(Side::Target,
                  filled("R2T with R2TO {} and R2TL {} for {}, of which {} bytes were asked for "
                         "(TCP §3.6.2, R2T)",
                         at.offset, at.length, describe(command, at.cid), command.asked));
    } else if (command.r2ts.size() >= most_r2ts_) {
        violation(Side::Target,
                  filled("R2T number {} at a time for {}; MAXR2T allows {} (TCP "
                         "§3.6.2, ICReq)",
                         command.r2ts.size() + 1, describe(command, at.cid), most_r2ts_));
    } else if (std::ranges::any_of(command.r2ts, same_tag)) {
        violation(Side::Target, filled("two R2Ts with TTAG {} for {} (TCP §3.6.2, R2T)", at.ttag,
                                       describe(command, at.cid)));
    }
    command.r2ts.push_back({at.ttag, at.offset, at.offset + at.length});
    command.asked = at.offset + at.length;
    stats_.max_r2ts = std::max(stats_.max_r2ts, command.r2ts.size());
}

/// Where H2CData of a CID may belong to; null: nowhere.
std::vector<NvmeTcpChecker::R2t>* NvmeTcpChecker::r2ts_of(std::uint16_t cid) {
    if (const auto found = commands_.find(cid); found != commands_.end()) {
        return &found->second.r2ts;
    }
    // The command has failed while its data was on the way.
    const auto late = late_.find(cid);
    return late == late_.end() ? nullptr : &late->second;
}

void NvmeTcpChecker::h2c_header(const Pdu& pdu) {
    const DataHeader at = data_header(pdu);
    std::vector<R2t>* r2ts = r2ts_of(at.cid);
    const auto same_tag = [&](const R2t& one) { return one.ttag == at.ttag; };
    if (r2ts == nullptr || std::ranges::none_of(*r2ts, same_tag)) {
        violation(Side::Host, filled("H2CData for CID {} with TTAG {}, which no R2T asked for (TCP "
                                     "§3.6.2, H2CData)",
                                     at.cid, at.ttag));
        return;
    }
    R2t& asked = *std::ranges::find_if(*r2ts, same_tag);
    if (at.length != pdu.data || at.length == 0 || at.length > max_h2c_data_) {
        violation(Side::Host,
                  filled("H2CData with DATAL {} carries {} bytes; MAXH2CDATA is {} (TCP "
                         "§3.6.2, H2CData)",
                         at.length, pdu.data, max_h2c_data_));
    } else if (at.offset != asked.next || at.length > asked.end - asked.next) {
        violation(Side::Host,
                  filled("H2CData with DATAO {} and DATAL {}; the R2T waits for {} to {} "
                         "(TCP §3.6.2, H2CData)",
                         at.offset, at.length, asked.next, asked.end));
    } else if (pdu.has(kLastFlag) != (at.offset + at.length == asked.end)) {
        violation(Side::Host, filled("H2CData to {} has LAST_PDU {}; its R2T ends at {} (TCP "
                                     "§3.6.2, H2CData)",
                                     at.offset + at.length, pdu.has(kLastFlag) ? 1 : 0, asked.end));
    }
}

void NvmeTcpChecker::h2c_end(const Pdu& pdu) {
    const DataHeader at = data_header(pdu);
    std::vector<R2t>* r2ts = r2ts_of(at.cid);
    if (r2ts == nullptr) {
        return;  // it failed during this PDU, which asked for no more
    }
    for (R2t& asked : *r2ts) {
        if (asked.ttag == at.ttag) {
            asked.next += at.length;
        }
    }
    std::erase_if(*r2ts, [](const R2t& one) { return one.next == one.end; });
    if (const auto found = commands_.find(at.cid); found != commands_.end()) {
        found->second.received += at.length;
        found->second.bad_data = found->second.bad_data || !pdu.data_good;
    } else {
        ++stats_.late_data;
    }
}

void NvmeTcpChecker::capsule_end(const Pdu& pdu) {
    const auto found = commands_.find(load16(pdu.header, kSqeCid));
    if (found != commands_.end() && found->second.in_capsule) {
        found->second.received = found->second.length;
        found->second.bad_data = !pdu.data_good;
    }
}

void NvmeTcpChecker::c2h_header(const Pdu& pdu) {
    const DataHeader at = data_header(pdu);
    const auto found = commands_.find(at.cid);
    if (found == commands_.end()) {
        violation(Side::Target, filled("C2HData for CID {}, which is not outstanding (TCP §3.6.2, "
                                       "C2HData)",
                                       at.cid));
        return;
    }
    const Command& command = found->second;
    if (command.transfer != Transfer::ToHost || command.last_seen) {
        violation(
            Side::Target,
            filled("C2HData for {}, which {} (TCP §3.6.2, C2HData)", describe(command, at.cid),
                   command.last_seen ? "had LAST_PDU already" : "reads nothing"));
    } else if (at.length != pdu.data || at.length == 0) {
        violation(Side::Target, filled("C2HData with DATAL {} carries {} bytes (TCP §3.6.2, "
                                       "C2HData)",
                                       at.length, pdu.data));
    } else if (at.offset != command.sent || at.length > command.length - command.sent) {
        violation(Side::Target,
                  filled("C2HData with DATAO {} and DATAL {} for {}, which has {} "
                         "bytes (TCP §3.6.2, C2HData)",
                         at.offset, at.length, describe(command, at.cid), command.sent));
    } else if (pdu.has(kSuccessFlag) && (!pdu.has(kLastFlag) || flow_control_)) {
        violation(Side::Target,
                  filled("C2HData with SUCCESS for {}: LAST_PDU is {}, SQ flow control "
                         "is {} (TCP §3.6.2, C2HData)",
                         describe(command, at.cid), pdu.has(kLastFlag) ? 1 : 0,
                         flow_control_ ? "on" : "off"));
    }
}

void NvmeTcpChecker::c2h_end(const Pdu& pdu) {
    const DataHeader at = data_header(pdu);
    const auto found = commands_.find(at.cid);
    if (found == commands_.end()) {
        violation(Side::Target,
                  filled("CID {} was completed within its C2HData (TCP §3.6.2)", at.cid));
        return;
    }
    Command& command = found->second;
    command.sent += at.length;
    command.last_seen = pdu.has(kLastFlag);
    if (pdu.has(kSuccessFlag)) {
        ++stats_.success_flags;
        check_success(command, at.cid);
        finish(at.cid, true);
    }
}

}  // namespace remora::sim
