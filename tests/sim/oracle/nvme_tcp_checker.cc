// SPDX-License-Identifier: Apache-2.0
// NvmeTcpChecker, the connection: handshake, TermReq, digests and what is asked at the end.
#include "tests/sim/oracle/nvme_tcp_checker.h"

#include <utility>

#include "tests/sim/oracle/filled.h"

namespace remora::sim {

using namespace layout;  // NOLINT(google-build-using-namespace): constants of this file's subject

NvmeTcpChecker::NvmeTcpChecker(CheckerOptions options, std::function<Nanos()> now, Report report)
    : options_(std::move(options)),
      now_(std::move(now)),
      report_(std::move(report)),
      host_half_(*this, Side::Host),
      target_half_(*this, Side::Target),
      from_host_(true, host_half_),
      from_target_(false, target_half_) {}

void NvmeTcpChecker::host_to_target(std::span<const std::byte> bytes) {
    feed(Side::Host, from_host_, bytes);
}

void NvmeTcpChecker::target_to_host(std::span<const std::byte> bytes) {
    feed(Side::Target, from_target_, bytes);
}

void NvmeTcpChecker::feed(Side side, PduSplitter& splitter, std::span<const std::byte> bytes) {
    if (closed_ || off_ || bytes.empty()) {
        return;
    }
    if (ended_[index(side)] && splitter.between_pdus()) {
        violation(side, "it sends more after its TermReq (TCP §3.6.2, Terminate Connection)");
        return;
    }
    splitter.feed(bytes);
}

void NvmeTcpChecker::corrupted(Direction direction) {
    corrupt_[index(direction == Direction::HostToTarget ? Side::Host : Side::Target)] = true;
    if (!answered_ || !from_host_.header_digest()) {
        off_ = true;
    }
}

void NvmeTcpChecker::final_check() {
    if (closed_ || off_) {
        return;
    }
    if (must_close_) {
        off_ = true;
        ++stats_.violations;
        report_(
            filled("{}: the connection lives on after a PDU whose header was corrupted, which "
                   "its digest told (TCP §3.3.1, header digest error is fatal)",
                   options_.name));
        return;
    }
    for (const Side side : {Side::Host, Side::Target}) {
        if (ended_[index(side)]) {
            violation(other(side),
                      "the connection was not closed after the other side's TermReq "
                      "(TCP §3.6.2, Terminate Connection)");
        }
    }
    check_keep_alive();
}

void NvmeTcpChecker::violation(Side by, const std::string& what) {
    if (off_ || corrupt_[index(by)]) {
        return;
    }
    off_ = true;
    if (by == Side::Host ? options_.judge_host : options_.judge_target) {
        ++stats_.violations;
        report_(filled("{} (queue {}): {}: {}", options_.name, qid_,
                       by == Side::Host ? "host" : "target", what));
    }
}

void NvmeTcpChecker::Half::on_bad_header_digest(const Pdu& pdu) {
    ++checker_.stats_.bad_digests;
    if (side_ == Side::Host && !checker_.options_.stable_host_data) {
        return;
    }
    checker_.violation(side_,
                       filled("the header digest of a {} is wrong (TCP §3.3.1)", pdu.name()));
}

void NvmeTcpChecker::Half::on_bad_data_digest(const Pdu& pdu) {
    ++checker_.stats_.bad_digests;
    if (side_ == Side::Host && !checker_.options_.stable_host_data) {
        return;
    }
    checker_.violation(side_, filled("the data digest of a {} with {} bytes is wrong (TCP §3.3.1)",
                                     pdu.name(), pdu.data));
}

void NvmeTcpChecker::Half::on_lost() {
    if (checker_.corrupt_[index(side_)]) {
        checker_.must_close_ = true;
    }
}

void NvmeTcpChecker::header(Side side, const Pdu& pdu) {
    if (off_) {
        return;
    }
    ++stats_.pdus[pdu.type];
    if (ended_[index(side)]) {
        violation(side, filled("a {} after its TermReq (TCP §3.6.2)", pdu.name()));
        return;
    }
    if (pdu.type == kH2cTermReq || pdu.type == kC2hTermReq) {
        term_req(side, pdu);
        return;
    }
    if (!answered_ && pdu.type != kIcReq && pdu.type != kIcResp) {
        violation(side, filled("a {} before ICReq and ICResp (TCP §3.4)", pdu.name()));
        return;
    }
    switch (pdu.type) {
        case kIcReq:
            return ic_req(pdu);
        case kIcResp:
            return ic_resp(pdu);
        case kCapsuleCmd:
            return command(pdu);
        case kH2cData:
            return h2c_header(pdu);
        case kC2hData:
            return c2h_header(pdu);
        case kR2t:
            return r2t(pdu);
        default:
            return completion(pdu);
    }
}

void NvmeTcpChecker::end(Side /*side*/, const Pdu& pdu) {
    if (off_) {
        return;
    }
    if (pdu.type == kCapsuleCmd) {
        capsule_end(pdu);
    } else if (pdu.type == kH2cData) {
        h2c_end(pdu);
    } else if (pdu.type == kC2hData) {
        c2h_end(pdu);
    }
}

void NvmeTcpChecker::ic_req(const Pdu& pdu) {
    const std::uint16_t pfv = load16(pdu.header, kIcPfv);
    const std::uint8_t alignment = load8(pdu.header, kIcAlignment);
    asked_digests_ = load8(pdu.header, kIcDgst);
    most_r2ts_ = std::uint64_t{load32(pdu.header, kIcLimit)} + 1;
    host_alignment_ = (alignment + 1U) * 4U;
    if (asked_) {
        violation(Side::Host, "a second ICReq (TCP §3.4)");
    } else if (pfv != 0 || alignment > 31 || (asked_digests_ & ~3U) != 0) {
        violation(Side::Host, filled("ICReq has PFV {}, HPDA {}, DGST {} (TCP §3.6.2, ICReq)", pfv,
                                     alignment, asked_digests_));
    }
    asked_ = true;
}

void NvmeTcpChecker::ic_resp(const Pdu& pdu) {
    const std::uint16_t pfv = load16(pdu.header, kIcPfv);
    const std::uint8_t alignment = load8(pdu.header, kIcAlignment);
    const std::uint8_t digests = load8(pdu.header, kIcDgst);
    max_h2c_data_ = load32(pdu.header, kIcLimit);
    if (!asked_ || answered_) {
        violation(Side::Target,
                  asked_ ? "a second ICResp (TCP §3.4)" : "an ICResp without an ICReq (TCP §3.4)");
        return;
    }
    if (pfv != 0 || alignment > 31 || (digests & ~asked_digests_) != 0) {
        violation(Side::Target,
                  filled("ICResp has PFV {}, CPDA {}, DGST {} where {} was asked (TCP §3.6.2, "
                         "ICResp)",
                         pfv, alignment, digests, asked_digests_));
    } else if (max_h2c_data_ < 4096 || max_h2c_data_ % 4 != 0) {
        violation(Side::Target, filled("ICResp has MAXH2CDATA {}: less than 4096, or no multiple "
                                       "of 4 (TCP §3.6.2, ICResp)",
                                       max_h2c_data_));
    }
    answered_ = true;
    const bool header_digest = (digests & 1U) != 0;
    const bool data_digest = (digests & 2U) != 0;
    from_host_.negotiated(header_digest, data_digest, (alignment + 1U) * 4U);
    from_target_.negotiated(header_digest, data_digest, host_alignment_);
}

void NvmeTcpChecker::term_req(Side side, const Pdu& pdu) {
    const std::uint16_t fes = load16(pdu.header, kTermFes);
    ended_[index(side)] = true;
    if (fes < 1 || fes > 6) {
        violation(side, filled("{} with Fatal Error Status {} (TCP §3.6.2)", pdu.name(), fes));
    } else if (!corrupt_[index(other(side))] && options_.judge_term_req) {
        violation(side, filled("{} with Fatal Error Status {}, but the other side broke no rule "
                               "(TCP §3.6.2)",
                               pdu.name(), fes));
    }
}

}  // namespace remora::sim
