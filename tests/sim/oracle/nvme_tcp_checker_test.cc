// SPDX-License-Identifier: Apache-2.0
// The checker against byte scripts: what is right passes, and each rule is seen broken; whole and
// byte by byte, with and without digests.
#include <gtest/gtest.h>

#include "tests/sim/oracle/nvme_tcp_talk.h"

namespace remora::sim {
namespace {

using layout::kLastFlag;
using layout::kSuccessFlag;
using std::chrono::milliseconds;

constexpr std::uint16_t kFailed = 0x06;
constexpr std::uint8_t kBoth = kLastFlag | kSuccessFlag;

struct Script {
    const char* name;
    void (*play)(Talk&);
    const char* wrong;  ///< Part of the violation; null when all is right.
};

const Script kScripts[] = {
    // the handshake
    {"handshake", [](Talk& t) { t.handshake(); }, nullptr},
    {"icReq_twice", [](Talk& t) { t.ic_req(), t.ic_req(); }, "second ICReq"},
    {"icResp_twice", [](Talk& t) { t.handshake(), t.ic_resp(); }, "second ICResp"},
    {"icResp_first", [](Talk& t) { t.ic_resp(); }, "without an ICReq"},
    {"icReq_pfv", [](Talk& t) { t.patch(8, 1), t.ic_req(); }, "PFV 1"},
    {"icResp_pfv", [](Talk& t) { t.ic_req(), t.patch(8, 1), t.ic_resp(); }, "PFV 1"},
    {"icReq_hpda", [](Talk& t) { t.patch(10, 32), t.ic_req(); }, "HPDA 32"},
    {"icResp_moreDigests", [](Talk& t) { t.ic_req(), t.patch(11, 7), t.ic_resp(); }, "DGST 7"},
    {"icResp_maxH2cSmall", [](Talk& t) { t.ic_req(), t.ic_resp(4092); }, "MAXH2CDATA 4092"},
    {"icResp_maxH2cOdd", [](Talk& t) { t.ic_req(), t.ic_resp(4098); }, "MAXH2CDATA 4098"},
    {"command_beforeIcResp", [](Talk& t) { t.ic_req(), t.flush(1); }, "before ICReq and ICResp"},
    // layouts
    {"type_unknown", [](Talk& t) { t.live(), t.patch(0, 8), t.flush(1); }, "type 8 does not exist"},
    {"type_wrongWay", [](Talk& t) { t.live(), t.patch(0, 5), t.flush(1); }, "other way"},
    {"hlen", [](Talk& t) { t.live(), t.patch(2, 64), t.flush(1); }, "HLEN 64"},
    {"flags_reserved", [](Talk& t) { t.live(), t.patch(1, 0x80), t.flush(1); }, "reserved"},
    {"pdo_withoutData", [](Talk& t) { t.live(), t.patch(3, 72), t.flush(1); }, "PDO 72"},
    {"pdo_inHeader", [](Talk& t) { t.live(), t.patch(3, 64), t.short_write(1, 512, 512); },
     "PDO 64"},
    {"pdo_unaligned", [](Talk& t) { t.live(), t.patch(3, 79), t.short_write(1, 512, 512); },
     "PDO 79"},
    {"plen_tooSmall", [](Talk& t) { t.live(), t.patch(4, 20), t.flush(1); }, "PLEN 20"},
    {"plen_response", [](Talk& t) { t.live(), t.flush(1), t.patch(4, 32), t.resp(1); }, "PLEN 32"},
    // Connect
    {"connect_refusedThenAgain",
     [](Talk& t) {
         t.handshake(), t.connect(1, 3, false), t.resp(0, 0x181), t.connect(1, 3, false);
     },
     nullptr},
    {"connect_twice", [](Talk& t) { t.live(), t.connect(1, 3, false); }, "second Connect"},
    {"command_beforeConnect", [](Talk& t) { t.handshake(), t.flush(1); }, "before Connect"},
    {"command_whileConnecting", [](Talk& t) { t.handshake(), t.connect(1, 3, false), t.flush(1); },
     "before Connect"},
    {"command_afterRefusedConnect",
     [](Talk& t) { t.handshake(), t.connect(1, 3, false), t.resp(0, 0x181), t.flush(1); },
     "before Connect"},
    {"connect_sqsize0", [](Talk& t) { t.handshake(), t.connect(1, 0, false); }, "SQSIZE 0"},
    {"connect_flowControlOffUnasked",
     [](Talk& t) { t.handshake(), t.connect(1, 3, true), t.resp(0, 0, 0xffff); }, "FFFFh"},
    // opcodes
    {"admin_identify",
     [](Talk& t) { t.live(0), t.cmd(1, 6, {.length = 4096}), t.c2h(1, 0, 4096), t.resp(1); },
     nullptr},
    {"admin_createQueue", [](Talk& t) { t.live(0), t.cmd(1, 5); }, "does not exist on an admin"},
    {"io_identify", [](Talk& t) { t.live(1), t.cmd(1, 6, {.length = 512}); },
     "does not exist on an I/O"},
    {"io_property", [](Talk& t) { t.live(1), t.cmd(1, 0x7f, {.fctype = 4}); }, "Property command"},
    {"admin_property", [](Talk& t) { t.live(0), t.cmd(1, 0x7f, {.fctype = 4}), t.resp(1); },
     nullptr},
    // command identifiers and completions
    {"cid_usedAgain", [](Talk& t) { t.live(), t.flush(1), t.resp(1), t.flush(1), t.resp(1); },
     nullptr},
    {"cid_inUse", [](Talk& t) { t.live(), t.flush(1), t.flush(1); }, "CID 1 is used"},
    {"completion_twice", [](Talk& t) { t.live(), t.flush(1), t.resp(1), t.resp(1); },
     "not outstanding"},
    {"completion_ofNothing", [](Talk& t) { t.live(), t.resp(9); },
     "CID 9, which is not outstanding"},
    {"completion_phase", [](Talk& t) { t.live(), t.flush(1), t.patch(22, 1), t.resp(1); },
     "phase tag"},
    // the queue: four entries
    {"depth_full", [](Talk& t) { t.live(), t.flush(1), t.flush(2), t.flush(3); }, nullptr},
    {"depth_over", [](Talk& t) { t.live(), t.flush(1), t.flush(2), t.flush(3), t.flush(4); },
     "4 commands are outstanding"},
    {"flowControl_headMoves",
     [](Talk& t) {
         t.live(1, true), t.flush(1), t.flush(2), t.flush(3), t.resp(2, 0, 3), t.flush(4),
             t.flush(5), t.resp(1, 0, 2), t.resp(3, 0, 2), t.resp(4, 0, 2), t.resp(5, 0, 2);
     },
     nullptr},
    {"flowControl_over",
     [](Talk& t) { t.live(1, true), t.flush(1), t.flush(2), t.flush(3), t.flush(4); },
     "4 commands are not consumed"},
    {"flowControl_headOutside", [](Talk& t) { t.live(1, true), t.flush(1), t.resp(1, 0, 4); },
     "SQHD 4 is outside"},
    {"flowControl_headAhead", [](Talk& t) { t.live(1, true), t.flush(1), t.resp(1, 0, 3); },
     "2 commands were consumed; 1 were sent"},
    {"flowControl_headBehind", [](Talk& t) { t.live(1, true), t.flush(1), t.resp(1, 0, 1); },
     "0 commands were consumed; 1 were sent and 1 completed"},
    {"events_four",
     [](Talk& t) {
         t.handshake(), t.connect(0, 31, false), t.resp(0, 0, 0xffff);
         for (std::uint16_t cid = 1; cid < 5; ++cid) {
             t.cmd(cid, 0x0c);
         }
         t.resp(2), t.cmd(2, 0x0c);
     },
     nullptr},
    {"events_five",
     [](Talk& t) {
         t.handshake(), t.connect(0, 31, false), t.resp(0, 0, 0xffff);
         for (std::uint16_t cid = 1; cid < 6; ++cid) {
             t.cmd(cid, 0x0c);
         }
     },
     "5 Asynchronous Event Requests"},
    // in-capsule data
    {"inCapsule", [](Talk& t) { t.live(), t.short_write(1, 4096, 4096), t.resp(1); }, nullptr},
    {"inCapsule_tooShort", [](Talk& t) { t.live(), t.short_write(1, 4096, 2048); },
     "its capsule has 2048"},
    {"inCapsule_tooMuch", [](Talk& t) { t.live(), t.short_write(1, 8196, 8196); }, "may have 8192"},
    {"inCapsule_ofARead",
     [](Talk& t) { t.live(), t.cmd(1, 2, {.length = 512, .in_capsule = 512, .sgl = 1}); },
     "SGL descriptor 1"},
    {"inCapsule_withTransportSgl",
     [](Talk& t) { t.live(), t.cmd(1, 1, {.length = 512, .in_capsule = 512}); },
     "its capsule has 512"},
    {"sgl_unknown", [](Talk& t) { t.live(), t.cmd(1, 1, {.length = 512, .sgl = 0x20}); },
     "descriptor 32"},
    {"psdt_prp", [](Talk& t) { t.live(), t.cmd(1, 1, {.length = 512, .flags = 0}); }, "PSDT"},
    // data to the host
    {"read",
     [](Talk& t) { t.live(), t.read(1, 1000), t.c2h(1, 0, 600, 0), t.c2h(1, 600, 400), t.resp(1); },
     nullptr},
    {"read_success",
     [](Talk& t) {
         t.live(), t.read(1, 1000), t.c2h(1, 0, 600, 0), t.c2h(1, 600, 400, kBoth), t.read(1, 8);
     },
     nullptr},
    {"read_successAndResponse",
     [](Talk& t) { t.live(), t.read(1, 8), t.c2h(1, 0, 8, kBoth), t.resp(1); }, "not outstanding"},
    {"read_successNotLast", [](Talk& t) { t.live(), t.read(1, 8), t.c2h(1, 0, 8, kSuccessFlag); },
     "LAST_PDU is 0"},
    {"read_successWithFlowControl",
     [](Talk& t) { t.live(1, true), t.read(1, 8), t.c2h(1, 0, 8, kBoth); }, "flow control is on"},
    {"read_short", [](Talk& t) { t.live(), t.read(1, 1000), t.c2h(1, 0, 600), t.resp(1); },
     "succeeded after 600 bytes"},
    {"read_shortSuccess", [](Talk& t) { t.live(), t.read(1, 1000), t.c2h(1, 0, 600, kBoth); },
     "succeeded after 600 bytes"},
    {"read_shortFails",
     [](Talk& t) { t.live(), t.read(1, 1000), t.c2h(1, 0, 600, 0), t.resp(1, kFailed); }, nullptr},
    {"read_none", [](Talk& t) { t.live(), t.read(1, 1000), t.resp(1); }, "succeeded after 0 bytes"},
    {"read_noLast", [](Talk& t) { t.live(), t.read(1, 8), t.c2h(1, 0, 8, 0), t.resp(1); },
     "without a C2HData with LAST"},
    {"read_gap", [](Talk& t) { t.live(), t.read(1, 1000), t.c2h(1, 0, 8, 0), t.c2h(1, 16, 8); },
     "DATAO 16"},
    {"read_tooMuch", [](Talk& t) { t.live(), t.read(1, 1000), t.c2h(1, 0, 1004); }, "DATAL 1004"},
    {"read_afterLast", [](Talk& t) { t.live(), t.read(1, 16), t.c2h(1, 0, 8), t.c2h(1, 8, 8); },
     "LAST_PDU already"},
    {"read_datal", [](Talk& t) { t.live(), t.read(1, 16), t.patch(16, 12), t.c2h(1, 0, 16); },
     "DATAL 12 carries 16"},
    {"data_forAWrite", [](Talk& t) { t.live(), t.write(1, 16), t.c2h(1, 0, 16); }, "reads nothing"},
    {"data_forNothing", [](Talk& t) { t.live(), t.c2h(1, 0, 16); }, "not outstanding"},
    // data to the target
    {"write",
     [](Talk& t) {
         t.live(), t.write(1, 20000), t.r2t(1, 7, 0, 12000), t.h2c(1, 7, 0, 8192, false),
             t.h2c(1, 7, 8192, 3808), t.r2t(1, 8, 12000, 8000), t.h2c(1, 8, 12000, 8000), t.resp(1);
     },
     nullptr},
    {"write_twoR2tsAllowed",
     [](Talk& t) {
         t.live(1, false, 1), t.write(1, 64), t.r2t(1, 7, 0, 32), t.r2t(1, 8, 32, 32),
             t.h2c(1, 7, 0, 32), t.h2c(1, 8, 32, 32), t.resp(1);
     },
     nullptr},
    {"r2t_tooMany",
     [](Talk& t) { t.live(), t.write(1, 64), t.r2t(1, 7, 0, 32), t.r2t(1, 8, 32, 32); },
     "R2T number 2"},
    {"r2t_sameTag",
     [](Talk& t) { t.live(1, false, 1), t.write(1, 64), t.r2t(1, 7, 0, 32), t.r2t(1, 7, 32, 32); },
     "TTAG 7"},
    {"r2t_empty", [](Talk& t) { t.live(), t.write(1, 64), t.r2t(1, 7, 0, 0); }, "R2TL 0"},
    {"r2t_gap", [](Talk& t) { t.live(), t.write(1, 64), t.r2t(1, 7, 8, 8); }, "R2TO 8"},
    {"r2t_tooLong", [](Talk& t) { t.live(), t.write(1, 64), t.r2t(1, 7, 0, 65); }, "R2TL 65"},
    {"r2t_ofARead", [](Talk& t) { t.live(), t.read(1, 64), t.r2t(1, 7, 0, 64); },
     "no data to send"},
    {"r2t_ofInCapsule", [](Talk& t) { t.live(), t.short_write(1, 64, 64), t.r2t(1, 7, 0, 64); },
     "no data to send"},
    {"r2t_ofNothing", [](Talk& t) { t.live(), t.r2t(1, 7, 0, 64); }, "not outstanding"},
    {"write_tag", [](Talk& t) { t.live(), t.write(1, 64), t.r2t(1, 7, 0, 64), t.h2c(1, 8, 0, 64); },
     "TTAG 8"},
    {"write_unasked", [](Talk& t) { t.live(), t.write(1, 64), t.h2c(1, 0, 0, 64); },
     "no R2T asked"},
    {"write_gap", [](Talk& t) { t.live(), t.write(1, 64), t.r2t(1, 7, 0, 64), t.h2c(1, 7, 4, 60); },
     "DATAO 4"},
    {"write_tooMuch",
     [](Talk& t) { t.live(), t.write(1, 64), t.r2t(1, 7, 0, 32), t.h2c(1, 7, 0, 64); }, "DATAL 64"},
    {"write_pduTooLarge",
     [](Talk& t) { t.live(), t.write(1, 9000), t.r2t(1, 7, 0, 9000), t.h2c(1, 7, 0, 9000); },
     "MAXH2CDATA is 8192"},
    {"write_noLast",
     [](Talk& t) { t.live(), t.write(1, 64), t.r2t(1, 7, 0, 64), t.h2c(1, 7, 0, 64, false); },
     "LAST_PDU 0"},
    {"write_earlyLast",
     [](Talk& t) { t.live(), t.write(1, 64), t.r2t(1, 7, 0, 64), t.h2c(1, 7, 0, 32); },
     "LAST_PDU 1"},
    {"write_doneTooSoon",
     [](Talk& t) {
         t.live(), t.write(1, 64), t.r2t(1, 7, 0, 64), t.h2c(1, 7, 0, 32, false), t.resp(1);
     },
     "succeeded after 32 bytes"},
    {"write_neverAsked", [](Talk& t) { t.live(), t.write(1, 64), t.resp(1); },
     "succeeded after 0 bytes"},
    {"write_failedDataOnItsWay",
     [](Talk& t) {
         t.live(), t.write(1, 64), t.r2t(1, 7, 0, 64), t.h2c(1, 7, 0, 32, false),
             t.resp(1, kFailed), t.h2c(1, 7, 32, 32), t.flush(1), t.resp(1);
     },
     nullptr},
    {"write_failedDataAfterCidUsedAgain",
     [](Talk& t) {
         t.live(), t.write(1, 64), t.r2t(1, 7, 0, 64), t.resp(1, kFailed), t.flush(1),
             t.h2c(1, 7, 0, 64);
     },
     "no R2T asked"},
    {"trim_withRanges",
     [](Talk& t) {
         t.live(), t.cmd(1, 9, {.length = 32, .in_capsule = 32, .sgl = 1, .cdw10 = 1}), t.resp(1);
     },
     nullptr},
    {"trim_tooFewRanges",
     [](Talk& t) {
         t.live(), t.cmd(1, 9, {.length = 32, .in_capsule = 32, .sgl = 1, .cdw10 = 2}), t.resp(1);
     },
     "succeeded after 32 bytes"},
    // the end
    {"termReq_afterNothingWrong", [](Talk& t) { t.live(), t.term(true); }, "broke no rule"},
    {"termReq_status", [](Talk& t) { t.live(), t.term(false, 7); }, "Fatal Error Status 7"},
    {"keepAlive_inTime",
     [](Talk& t) {
         t.live(0), t.now += milliseconds(1900), t.cmd(1, 0x18), t.resp(1),
             t.now += milliseconds(1900);
         t.checker.final_check();
     },
     nullptr},
    {"keepAlive_late", [](Talk& t) { t.live(0), t.now += milliseconds(2100), t.cmd(1, 0x18); },
     "KATO"},
    {"keepAlive_never",
     [](Talk& t) { t.live(0), t.now += milliseconds(2100), t.checker.final_check(); }, "KATO"},
    {"keepAlive_notAfterClose",
     [](Talk& t) {
         t.live(0), t.now += milliseconds(2100), t.checker.closed(), t.checker.final_check();
     },
     nullptr},
};

class ScriptTest : public testing::TestWithParam<Script> {};

TEST_P(ScriptTest, Bytes_areJudged) {
    for (const bool digests : {false, true}) {
        for (const bool cut : {false, true}) {
            for (const std::uint8_t alignment : {std::uint8_t{0}, std::uint8_t{1}}) {
                Talk talk({.digests = digests, .cut = cut, .alignment = alignment});
                GetParam().play(talk);
                if (GetParam().wrong == nullptr) {
                    EXPECT_TRUE(talk.violations.empty()) << talk.violations.front();
                    continue;
                }
                ASSERT_EQ(talk.violations.size(), 1U) << GetParam().wrong;
                EXPECT_NE(talk.violations[0].find(GetParam().wrong), std::string::npos)
                    << talk.violations[0];
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(All, ScriptTest, testing::ValuesIn(kScripts), [](const auto& one) {
    return std::string(one.param.name);
});

}  // namespace
}  // namespace remora::sim
